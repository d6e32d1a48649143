// SPDX-License-Identifier: MIT

package strip

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// worker is the state of one goroutine.
type worker[T kern.Number] struct {
	*scratch.Memory
	plan       *plan[T]
	problem    *core.Problem
	at         walk.Cursor
	move       kern.Rows[T]
	strips     kern.Strips[T]
	stretches  []stretch // of the items
	stored     stored
	factors    [2]T   // scale and 1
	loaded     [5][]T // rows of channels that had to be converted
	unfinished [3][]T // results that are not yet converted

	weights, gradients []T // for item i and a key: index i*pitch+key-low
	max, sum           []T // [item]
	lse, delta         []T // [item]
}

// Begin implements engine.Worker.
func (w *worker[T]) Begin(of engine.Plan, run *walk.Run, s *walk.Stage, rows *sched.Stealable[walk.Rows]) {
	w.plan, w.problem = of.(*plan[T]), run.Problem
	w.at.Begin(run, s, rows, true)
	w.move.Set, w.strips.Set = w.plan.kernels, w.plan.kernels
	w.factors = [2]T{T(w.problem.Scale), 1}
}

// Task implements engine.Worker.
func (w *worker[T]) Task(n int64) { w.at.Task(n, w) }

// Rows implements engine.Worker. It is not called, as strips publish their rows as a whole.
func (w *worker[T]) Rows(r *walk.Rows, from, end int) { w.at.Stolen(r, from, end, w) }

// Release implements engine.Worker.
func (w *worker[T]) Release() {
	w.at.End()
	workers := w.plan.workers
	w.plan, w.problem = nil, nil
	workers.Put(w)
}

// Plan implements walk.Tiles.
func (w *worker[T]) Plan(n, count int) {
	if w.plan.walk.Pass.Kind == walk.AttnGradients {
		w.planGradients(n, count)
		return
	}
	w.stored.first, w.stored.count = 0, count
	w.planItems(n, count)
}

// planItems makes the items of the strip the queries n to n+count-1.
func (w *worker[T]) planItems(n, count int) {
	w.at.SetTile(n, count)
	w.stretches = findStretches(w.stretches, w.at.Lo, w.at.Hi)
}

// Column implements walk.Tiles.
func (w *worker[T]) Column(from, to [3]int) {
	gradients := w.plan.walk.Pass.Kind == walk.AttnGradients
	for n0 := from[0]; n0 < to[0]; n0++ {
		w.at.Publish(n0, from[1], to[1])
		for n1, end, ok := w.at.NextRows(1); ok; n1, end, ok = w.at.NextRows(1) {
			w.at.Index[0], w.at.Index[1] = n0, n1
			if gradients {
				w.backward()
				continue
			}
			if n1+1 < end && w.move.Prefetches() {
				out := w.at.Source(core.Out, n0, n1+1, w.at.Index[2], w.at.QueryHead(0), int(w.problem.ValueDim))
				w.move.Prefetch(out, w.at.Positions)
			}
			w.forward()
		}
	}
}

// stretch is a sequence of items whose windows have the same number of keys, and whose first
// keys are advance apart.
type stretch struct{ item, items, low, keys, advance int }

// findStretches divides items with the windows lo <= key < hi into stretches.
func findStretches(to []stretch, lo, hi []int) []stretch {
	to = to[:0]
	for i := range lo {
		keys := hi[i] - lo[i]
		if last := len(to) - 1; last >= 0 && to[last].keys == keys {
			s := &to[last]
			advance := lo[i] - lo[i-1]
			if s.items == 1 {
				s.advance = advance
			}
			if s.advance == advance {
				s.items++
				continue
			}
		}
		to = append(to, stretch{item: i, items: 1, low: lo[i], keys: keys})
	}
	return to
}

// within returns the part of a stretch with the items from <= i < to.
func (s stretch) within(from, to int) stretch {
	from, to = max(from, s.item), min(to, s.item+s.items)
	s.low += (from - s.item) * s.advance
	s.item, s.items = from, to-from
	return s
}

// view is rows whose number of channels is a multiple of 8.
type view struct {
	p     core.Address
	step  int // bytes to the next row
	ahead int // bytes from a row to its counterpart in the next strip, which kernels prefetch
}

func (v view) row(n int) core.Address { return v.p.Add(n * v.step) }

// lineRows is the rows of a role's tensor from some position of a line to its end.
type lineRows struct {
	kern.Source
	count int // rows to the end of the line
}

// rows returns the rows of a role's tensor from query or key n2 on. Windows are single rows, so
// the keys are at the queries' own positions on the slow axes.
func (w *worker[T]) rows(role core.Role, n2, head, channels int) lineRows {
	l, n0, n1 := &w.at.Lines, w.at.Index[0], w.at.Index[1]
	count := l[2].Queries
	switch role {
	case core.Key, core.Value, core.DKey, core.DValue:
		count = l[2].Keys
		n0, n1 = l[0].Own(n0), l[1].Own(n1)
	}
	return lineRows{w.at.Source(role, n0, n1, n2, head, channels), count - n2}
}

// read returns count rows of a source, either in place or converted into buffer.
func (w *worker[T]) read(s lineRows, count int, buffer *[]T) view {
	if w.plan.direct(s.Channels) {
		return view{s.P, s.Step, w.plan.walk.Tile * s.Step}
	}
	w.prefetchNext(s, count)
	depth := kern.Padded(s.Channels)
	scratch.Grow(w.Memory, buffer, count*depth)
	w.move.Load(*buffer, depth, s.Source, count, 1)
	if depth > s.Channels {
		for r := range count {
			clear((*buffer)[r*depth+s.Channels : (r+1)*depth])
		}
	}
	return view{kern.AddressOf(unsafe.SliceData(*buffer)), depth * kern.SizeOf[T](), 0}
}

// target returns the rows to which kernels write count results for s: s itself or, if they
// must be converted, buffer.
func (w *worker[T]) target(s lineRows, count int, buffer *[]T) view {
	if w.plan.direct(s.Channels) {
		return view{s.P, s.Step, w.plan.walk.Tile * s.Step}
	}
	w.prefetchNext(s, count)
	depth := kern.Padded(s.Channels)
	scratch.Grow(w.Memory, buffer, count*depth)
	return view{kern.AddressOf(unsafe.SliceData(*buffer)), depth * kern.SizeOf[T](), 0}
}

// prefetchNext prefetches the rows of the next strip, which follow count rows of this one.
func (w *worker[T]) prefetchNext(s lineRows, count int) {
	if next := min(w.plan.walk.Tile, s.count-count); next > 0 {
		s.P = s.P.Add(count * s.Step)
		w.move.Prefetch(s.Source, next)
	}
}

// finish converts and stores the results in buffer if target(s) returned buffer.
func (w *worker[T]) finish(s lineRows, count int, buffer []T) {
	if !w.plan.direct(s.Channels) {
		w.move.Store(s.Source, buffer, kern.Padded(s.Channels), count, w.factors[1:], 0)
	}
}

// pitch is the number of elements from an item's weights to the next item's.
func (w *worker[T]) pitch() int { return kern.Padded(int(w.problem.Axes[2].Kernel)) }
