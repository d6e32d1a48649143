// SPDX-License-Identifier: MIT

package sched

import (
	"slices"
	"sync"
)

// leastStolen is the smallest number of remaining rows for which stealing half pays off.
const leastStolen = 8

// Stealable is the range of rows that a goroutine has not begun, with a description that
// lets another goroutine compute them.
type Stealable[P any] struct {
	// Pause, unless nil, is called whenever the goroutine takes rows.
	Pause func()

	mutex     sync.Mutex
	next, end int
	of        P
	whole     bool // rows may not be stolen
}

// Publish sets the rows not yet begun to [next, end). If whole is true, or if there are fewer
// than leastStolen, they may not be stolen.
func (s *Stealable[P]) Publish(next, end int, of P, whole bool) {
	s.mutex.Lock()
	s.next, s.end, s.of, s.whole = next, end, of, whole || end-next < leastStolen
	s.mutex.Unlock()
}

// Take claims the next rows, up to step of them. It returns the first one and the end of all
// remaining rows; ok is false when none is left.
func (s *Stealable[P]) Take(step int) (row, end int, ok bool) {
	if s.Pause != nil {
		s.Pause()
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	row, end = s.next, s.end
	s.next += step
	return row, end, row < end
}

// steal removes the second half of the rows if there are enough of them. It keeps an even
// number of rows, as engines process rows in pairs.
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

// Victims holds the stealable rows of all goroutines of a job.
type Victims[P any] struct {
	mutex sync.Mutex
	all   []*Stealable[P]
}

// Add registers a goroutine's rows. It is called before the goroutine publishes any.
func (v *Victims[P]) Add(s *Stealable[P]) {
	v.mutex.Lock()
	v.all = append(v.all, s)
	v.mutex.Unlock()
}

// Remove unregisters the rows of a goroutine that will publish no more.
func (v *Victims[P]) Remove(s *Stealable[P]) {
	v.mutex.Lock()
	v.all = slices.DeleteFunc(v.all, func(x *Stealable[P]) bool { return x == s })
	v.mutex.Unlock()
}

// Clear removes the rows of goroutines that panicked.
func (v *Victims[P]) Clear() {
	clear(v.all)
	v.all = v.all[:0]
}

// Steal takes rows from the goroutine that has most left, if it has enough.
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

// left is the number of rows from which others may steal.
func (s *Stealable[P]) left() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.whole {
		return 0
	}
	return s.end - s.next
}
