// SPDX-License-Identifier: MIT

package cpu

import (
	"slices"
	"sync"
)

// Tasks are as large as packing wants them, so the last of them would leave goroutines
// idle. One without a task takes off the second half of the rows that another has not
// begun.

// leastSplit is the rows along axis 1 from which on a half is worth packing its columns again.
const leastSplit = 8

// rowsOf is a tile of items for one key head and, forward, some of its query heads, at
// one place of axis 0: what is to be known to compute rows of it.
type rowsOf struct {
	stage                  *stage
	sample, class          int
	position, positions    int // of the tile along axis 2
	kvHead, member, place0 int
	first, end             int // heads of stencils
}

// remainder is the rows along axis 1 that a goroutine has not begun.
type remainder struct {
	sync.Mutex
	next, end int
	of        rowsOf
	whole     bool // nobody may take rows off
}

// offer makes rows from next up to end the remainder.
func (r *remainder) offer(next, end int, of rowsOf, whole bool) {
	r.Lock()
	r.next, r.end, r.of, r.whole = next, end, of, whole
	r.Unlock()
}

// take returns the next rows, up to step of them, and the end of those that are left.
func (r *remainder) take(step int) (row, end int, ok bool) {
	r.Lock()
	defer r.Unlock()
	row, end = r.next, r.end
	r.next += step
	return row, end, row < end
}

// split takes off the second half of the remainder if it is worth it. Rows stay in pairs.
func (r *remainder) split() (from, end int, of rowsOf, ok bool) {
	r.Lock()
	defer r.Unlock()
	rows := r.end - r.next
	if r.whole || rows < leastSplit {
		return 0, 0, rowsOf{}, false
	}
	end = r.end
	r.end = r.next + rows/4*2
	return r.end, end, r.of, true
}

// remainders are those of the goroutines of a run.
type remainders struct {
	sync.Mutex
	all []*remainder
}

func (l *remainders) add(r *remainder) {
	l.Lock()
	l.all = append(l.all, r)
	l.Unlock()
}

func (l *remainders) remove(r *remainder) {
	l.Lock()
	l.all = slices.DeleteFunc(l.all, func(x *remainder) bool { return x == r })
	l.Unlock()
}

// split takes rows off the first remainder that has enough of them.
func (l *remainders) split() (from, end int, of rowsOf, ok bool) {
	l.Lock()
	defer l.Unlock()
	for _, r := range l.all {
		if from, end, of, ok = r.split(); ok {
			break
		}
	}
	return from, end, of, ok
}

// help computes rows that other goroutines have not begun until none are left that
// are worth it.
func (t *tile[T]) help() {
	for {
		from, end, of, ok := t.remainders.split()
		if !ok {
			return
		}
		if t.stage != of.stage {
			t.begin(t.run, of.stage)
		}
		t.sample = of.sample
		t.lay(of.class)
		t.stencil.first, t.stencil.end = of.first, of.end
		t.planTile(of.position, of.positions)
		t.column(of.kvHead, of.member, [3]int{of.place0, from}, [3]int{of.place0 + 1, end})
	}
}

// offerRows offers the rows of the column in hand at a place of axis 0 to others.
func (t *tile[T]) offerRows(n0, from, end int) {
	turns := t.pass.kind.inverse() && t.group > t.stacked // query heads that add to the same gradients
	t.left.offer(from, end, rowsOf{t.stage, t.sample, t.class, t.place[2], t.positions, t.kvHead, t.member, n0, t.stencil.first, t.stencil.end},
		t.binning || t.parts.scatter || t.blocking.slabs || t.walk.strip && !t.walk.stencil || turns || end-from < leastSplit)
}
