// SPDX-License-Identifier: MIT

package sched

import (
	"slices"
	"sync"
)

// leastStolen is the fewest remaining rows of which stealing half pays off.
const leastStolen = 8

// Stealable is the rows that a goroutine has not begun, with what another one has to
// know of them to compute them.
type Stealable[P any] struct {
	mutex     sync.Mutex
	next, end int
	of        P
	whole     bool // nobody may take rows off
}

// Publish makes rows from next up to end those that are not begun. Nobody may take rows
// off that are published as a whole.
func (s *Stealable[P]) Publish(next, end int, of P, whole bool) {
	s.mutex.Lock()
	s.next, s.end, s.of, s.whole = next, end, of, whole || end-next < leastStolen
	s.mutex.Unlock()
}

// Take returns the next rows, up to step of them, and the end of those that are left.
func (s *Stealable[P]) Take(step int) (row, end int, ok bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	row, end = s.next, s.end
	s.next += step
	return row, end, row < end
}

// steal takes off the second half of the rows if it is worth it. Rows stay in pairs.
func (s *Stealable[P]) steal() (from, end int, of P, ok bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	rows := s.end - s.next
	if s.whole || rows < leastStolen {
		return 0, 0, of, false
	}
	end = s.end
	s.end = s.next + rows/4*2
	return s.end, end, s.of, true
}

// Victims are the rows of all goroutines of a job.
type Victims[P any] struct {
	mutex sync.Mutex
	all   []*Stealable[P]
}

// Add is called before a goroutine publishes rows.
func (v *Victims[P]) Add(s *Stealable[P]) {
	v.mutex.Lock()
	v.all = append(v.all, s)
	v.mutex.Unlock()
}

// Remove is called when a goroutine will publish no more rows.
func (v *Victims[P]) Remove(s *Stealable[P]) {
	v.mutex.Lock()
	v.all = slices.DeleteFunc(v.all, func(x *Stealable[P]) bool { return x == s })
	v.mutex.Unlock()
}

// Clear forgets the rows of goroutines that ended by a panic.
func (v *Victims[P]) Clear() {
	clear(v.all)
	v.all = v.all[:0]
}

// Steal takes rows off the goroutine that has most, if those are enough.
func (v *Victims[P]) Steal() (from, end int, of P, ok bool) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	var richest *Stealable[P]
	most := 0
	for _, s := range v.all {
		if rows := s.left(); rows > most {
			richest, most = s, rows
		}
	}
	if richest == nil {
		return 0, 0, of, false
	}
	return richest.steal()
}

// left is the number of rows that others may take off.
func (s *Stealable[P]) left() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.whole {
		return 0
	}
	return s.end - s.next
}
