// SPDX-License-Identifier: MIT

package panel

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// worker is the state of one goroutine in a walk: the items of a tile with their sums, and the
// rows of keys that they meet. An item is a position along the fastest axis and, except in an
// inverse walk, a query head of the group. Items of the same position are neighbors.
type worker[T kern.Number] struct {
	*scratch.Memory
	plan     *plan[T]
	problem  *core.Problem
	kind     walk.Kind
	inverse  bool // items are keys; what is called key in this package is a query
	products walk.Products
	at       walk.Cursor
	move     kern.Rows[T]
	do       arithmetic[T]
	vector   *vector // allocated on first use

	start        [2]int // keys of the first window slot on the slow axes, not in an inverse walk
	qk, vo       []T    // [item][channel]
	sumQK, sumVO []T    // [item][channel]
	max, sum     []T    // [item] running maximum and sum of the online softmax
	lse, delta   []T    // [item] in the pass for query gradients
	factors      []T    // scale and 1
	bias         []T
	bins         []T          // d_rpb of the group's heads, or nil
	panels       [2]packed[T] // keys of the token layout, and additional tokens
	from, to     int          // range [from, to) of the packed keys along the fastest axis
	s            scores[T]    // scores of the items with the packed keys
}

// Begin implements engine.Worker.
func (w *worker[T]) Begin(of engine.Plan, run *walk.Run, s *walk.Stage, rows *sched.Stealable[walk.Rows]) {
	w.plan = of.(*plan[T])
	w.problem, w.kind, w.products = run.Problem, s.Walk.Pass.Kind, s.Products
	w.inverse = w.kind.Inverse()
	w.at.Begin(run, s, rows, false)
	w.move.Set = w.plan.kernels
	w.do = w.arithmetic()
	w.bins = nil
	d, dv := int(w.problem.HeadDim), int(w.problem.ValueDim)
	w.panels[0].size(w.Memory, w.plan.slots(), w.plan.width, d, dv, w.products, w.kind == walk.AttnKey)
	if w.problem.Extra > 0 && !w.inverse {
		w.panels[1].size(w.Memory, 1, w.plan.width, d, dv, w.products, false)
	}
}

// arithmetic returns the implementation that uses the plan's kernels.
func (w *worker[T]) arithmetic() arithmetic[T] {
	s, single := any(&w.s).(*scores[float32])
	if !single || w.plan.kernels == nil {
		return portable[T]{&w.s}
	}
	if w.vector == nil {
		w.vector = &vector{scores: s}
	}
	w.vector.kernels = &w.plan.kernels.Panel
	return any(w.vector).(arithmetic[T])
}

// Task implements engine.Worker.
func (w *worker[T]) Task(n int64) { w.at.Task(n, w) }

// Rows implements engine.Worker.
func (w *worker[T]) Rows(r *walk.Rows, from, end int) { w.at.Stolen(r, from, end, w) }

// Release implements engine.Worker.
func (w *worker[T]) Release() {
	w.at.End()
	workers := w.plan.workers
	w.plan, w.problem, w.bins = nil, nil, nil
	workers.Put(w)
}

// Plan implements walk.Tiles.
func (w *worker[T]) Plan(n, count int) {
	w.at.SetTile(n, count)
	w.s.clipKey = [4]int{-1}
}

// Column implements walk.Tiles.
func (w *worker[T]) Column(from, to [3]int) {
	w.s.items, w.s.heads = w.at.Positions*w.at.MembersInHand(), w.at.MembersInHand()
	w.bins = walk.Bins[T](&w.at)
	w.panels[1].forget()
	for n0 := from[0]; n0 < to[0]; n0++ {
		w.panels[0].forget()
		w.at.Publish(n0, from[1], to[1])
		for n1, end, ok := w.at.NextRows(1); ok; n1, end, ok = w.at.NextRows(1) {
			if n1+1 < end {
				w.prefetch(n0, n1+1)
			}
			w.row(n0, n1)
		}
	}
}

// row computes the items of the tile at one position of the slow axes.
func (w *worker[T]) row(n0, n1 int) {
	w.at.Index[0], w.at.Index[1] = n0, n1
	lo0, hi0, start0 := w.at.Span(0, n0)
	lo1, hi1, start1 := w.at.Span(1, n1)
	w.start = [2]int{start0, start1}
	w.loadItems()
	w.at.Tokens, w.s.panel = false, &w.panels[0]
	if hi0-lo0 <= w.plan.depth && hi1-lo1 <= w.plan.ring && w.at.High-w.at.Low <= w.plan.width {
		w.resident(lo0, hi0, lo1, hi1)
	} else {
		w.stream(lo0, hi0, lo1, hi1)
	}
	if w.problem.Extra > 0 && !w.inverse {
		w.extra()
	}
	w.storeItems()
}

// resident processes a window that fits the panel. It packs the rows that are not packed yet,
// and computes with the whole window at once.
func (w *worker[T]) resident(lo0, hi0, lo1, hi1 int) {
	s, ring := &w.s, w.plan.ring
	s.rows = s.rows[:0]
	w.from, w.to = w.at.Low, w.at.High
	if lo1 == hi1 || w.from == w.to {
		return
	}
	turn := lo1 % ring
	for member := range w.at.Members() {
		for n0 := lo0; n0 < hi0; n0++ {
			base := (member*w.plan.depth + n0 - lo0) * ring
			for slot := range ring {
				n1 := lo1 - turn + slot
				if n1 < lo1 {
					n1 += ring
				}
				if n1 < hi1 {
					s.rows = append(s.rows, keyRow{n0, n1, member, base + slot})
				}
			}
		}
	}
	for i := range s.rows {
		if r := &s.rows[i]; s.panel.tags[r.slot] != r.n1 {
			w.pack(r)
			s.panel.tags[r.slot] = r.n1
		}
	}
	w.compute()
}

// stream processes a window that is larger than the panel, piece by piece.
func (w *worker[T]) stream(lo0, hi0, lo1, hi1 int) {
	s := &w.s
	s.panel.forget()
	for from := w.at.Low; from < w.at.High; from += w.plan.width {
		w.from, w.to = from, min(from+w.plan.width, w.at.High)
		s.rows = s.rows[:0]
		for member := range w.at.Members() {
			for n0 := lo0; n0 < hi0; n0++ {
				for n1 := lo1; n1 < hi1; n1++ {
					s.rows = append(s.rows, keyRow{n0, n1, member, len(s.rows)})
					w.pack(&s.rows[len(s.rows)-1])
					if len(s.rows) == s.panel.slots {
						w.compute()
						s.rows = s.rows[:0]
					}
				}
			}
		}
		w.compute()
	}
}

// extra processes the additional tokens.
func (w *worker[T]) extra() {
	s := &w.s
	w.at.Tokens, s.panel = true, &w.panels[1]
	n := int(w.problem.Extra)
	for from := 0; from < n; from += s.panel.width {
		w.from, w.to = from, min(from+s.panel.width, n)
		s.rows = append(s.rows[:0], keyRow{})
		if s.panel.tags[0] != from {
			w.pack(&s.rows[0])
			s.panel.tags[0] = from
		}
		w.compute()
	}
}

// compute adds the packed keys to the results of all items.
func (w *worker[T]) compute() {
	s := &w.s
	if len(s.rows) == 0 {
		return
	}
	s.findSegments()
	w.findClips()
	size := (s.items+1)*s.pitch + kern.Slack
	scratch.Grow(w.Memory, &s.weights, size)
	d, dv := int(w.problem.HeadDim), int(w.problem.ValueDim)
	if w.products.QK {
		w.do.Score(s.weights, w.qk, s.panel.qkT, d)
		w.addBias()
	}
	switch w.kind {
	case walk.AttnOut:
		w.softmax()
	case walk.QKAttn:
		w.writeSlots(core.Attn, s.weights)
	case walk.AVOut, walk.AVValue:
		w.readSlots(core.Attn)
	case walk.QKQuery, walk.QKKey:
		w.readSlots(core.DAttn)
	case walk.AttnQuery, walk.AttnKey:
		w.probabilities()
	}
	if w.products.SumVO {
		w.do.Accumulate(w.sumVO, s.panel.vo, dv)
	}
	if w.products.DOutV {
		scratch.Grow(w.Memory, &s.gradients, size)
		w.do.Score(s.gradients, w.vo, s.panel.voT, dv)
		if w.kind == walk.AVAttn {
			w.writeSlots(core.DAttn, s.gradients)
		} else {
			w.logitGradients()
		}
	}
	if w.products.SumQK {
		w.do.Accumulate(w.sumQK, s.panel.qk, d)
	}
	if w.bins != nil && !w.at.Tokens {
		w.binGradients()
	}
}
