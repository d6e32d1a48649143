// SPDX-License-Identifier: MIT

package strip

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// One pass computes all gradients of a strip. It stores the gradients of the strip's own
// positions only, which no other strip stores. For them it computes the weights of the strip's
// own queries and of all other queries that meet the strip's keys.

// stored is the positions whose gradients a strip stores.
type stored struct {
	first, count       int       // queries, counted from the strip's first item
	firstKey, keyCount int       // keys
	keys               []stretch // stretches of keys, in which a key's "window" is the queries that meet it
	lo, hi             []int     // [stored key] queries lo <= n < hi that meet it
}

// planGradients makes the stored positions those of the keys n to n+count-1, and makes the items
// all queries that these need. With ranges, some keys have no query at their position.
func (w *worker[T]) planGradients(n, count int) {
	o, l := &w.stored, &w.at.Lines[2]
	o.lo, o.hi = kern.Grow(o.lo, count), kern.Grow(o.hi, count)
	first := min(max(n-l.Own(0), 0), l.Queries)
	end := min(max(n+count-l.Own(0), first), l.Queries)
	from, to := first, end
	if from == to {
		from, to = l.QueriesOf(n)
	}
	for i := range count {
		o.lo[i], o.hi[i] = l.QueriesOf(n + i)
		if o.lo[i] < o.hi[i] {
			from, to = min(from, o.lo[i]), max(to, o.hi[i])
		}
	}
	o.first, o.count, o.firstKey, o.keyCount = first-from, end-first, n, count
	o.keys = findStretches(o.keys, o.lo, o.hi)
	w.planItems(from, to-from)
}

// backward computes the gradients of the stored positions for one key head. The gradients of
// keys and values are sums over the query heads of its group.
func (w *worker[T]) backward() {
	given, o := &w.at.Run.Tensors, &w.stored
	d, dv, items, n, keys := int(w.problem.HeadDim), int(w.problem.ValueDim), w.at.Index[2], w.at.Index[2]+o.first, w.at.High-w.at.Low
	dKey, dValue := w.rows(core.DKey, o.firstKey, w.at.KVHead, d), w.rows(core.DValue, o.firstKey, w.at.KVHead, dv)
	key := w.read(w.rows(core.Key, w.at.Low, w.at.KVHead, d), keys, &w.loaded[0])
	value := w.read(w.rows(core.Value, w.at.Low, w.at.KVHead, dv), keys, &w.loaded[1])
	for member := range w.plan.walk.Group {
		w.at.Member = member
		head := w.at.QueryHead(0)
		query := w.read(w.rows(core.Query, items, head, d), w.at.Positions, &w.loaded[2])
		dOut := w.read(w.rows(core.DOut, items, head, dv), w.at.Positions, &w.loaded[3])
		w.weigh(head, query, key, dOut, value)
		if o.count > 0 && given[core.DQuery].Given() {
			s := w.rows(core.DQuery, n, head, d)
			w.sumKeys(w.target(s, o.count, &w.unfinished[0]), w.gradients, key, d, &w.factors[0], 0)
			w.finish(s, o.count, w.unfinished[0])
		}
		if given[core.DKey].Given() {
			w.sumQueries(w.target(dKey, o.keyCount, &w.unfinished[1]), w.gradients, query, d, &w.factors[0])
		}
		if given[core.DValue].Given() {
			w.sumQueries(w.target(dValue, o.keyCount, &w.unfinished[2]), w.weights, dOut, dv, &w.factors[1])
		}
	}
	if given[core.DKey].Given() {
		w.finish(dKey, o.keyCount, w.unfinished[1])
	}
	if given[core.DValue].Given() {
		w.finish(dValue, o.keyCount, w.unfinished[2])
	}
}

// weigh computes the weights and the gradients of the logits.
func (w *worker[T]) weigh(head int, query, key, dOut, value view) {
	w.score(&w.weights, query, key, int(w.problem.HeadDim), &w.factors[0])
	w.score(&w.gradients, dOut, value, int(w.problem.ValueDim), &w.factors[1])
	w.deltas(head, dOut)
	lse := w.rows(core.LSE, w.at.Index[2], head, 1)
	scratch.Grow(w.Memory, &w.lse, w.at.Positions)
	kern.LoadLSE(w.lse, lse.P, lse.Step, lse.DType)
	pitch := w.pitch()
	for i := range w.stretches {
		s := &w.stretches[i]
		if s.keys == 0 {
			continue
		}
		at := s.item*pitch + s.low - w.at.Low
		w.strips.Gradients(w.weights[at:], w.gradients[at:], w.lse[s.item:], w.delta[s.item:], s.items, s.keys, pitch+s.advance)
	}
}

// deltas computes delta = d_out . out - d_lse, the term that the gradients of all logits of a
// query share, for all items.
func (w *worker[T]) deltas(head int, dOut view) {
	size, dv, count := kern.SizeOf[T](), int(w.problem.ValueDim), w.at.Positions
	out := w.read(w.rows(core.Out, w.at.Index[2], head, dv), count, &w.loaded[4])
	scratch.Grow(w.Memory, &w.delta, count+8)
	w.strips.Call = abi.Strip{
		Dst: kern.AddressOf(&w.delta[0]), Vectors: dOut.p, Rows: out.p, Factors: kern.AddressOf(&w.factors[1]),
		Items: count, Count: 1, Eights: kern.Padded(dv) / 8,
		DstStep: size, VectorStep: dOut.step, Advance: out.step, Step: out.step, RowsAhead: out.ahead,
	}
	w.strips.Dots()
	if !w.at.Run.Given(core.DLSE) {
		return
	}
	dLSE := w.rows(core.DLSE, w.at.Index[2], head, 1)
	scratch.Grow(w.Memory, &w.lse, count)
	kern.Load(w.lse, dLSE.P, dLSE.Step, dLSE.DType)
	for r, v := range w.lse {
		w.delta[r] -= v
	}
}

// sumQueries computes, for each stored key, the sum of the rows of the queries that meet it,
// times their weights and a factor. It adds to dst for every query head of a group after the
// first.
func (w *worker[T]) sumQueries(dst view, weights []T, queries view, channels int, factor *T) {
	size, pitch, o, first := kern.SizeOf[T](), w.pitch(), &w.stored, w.at.Index[2]
	for i := range o.keys {
		s := &o.keys[i]
		query := s.low - first
		if s.keys == 0 {
			query = 0
		}
		key := o.firstKey + s.item - w.at.Low
		w.strips.Call = abi.Strip{
			Dst: dst.row(s.item), Rows: queries.row(query), Factors: kern.AddressOf(factor),
			Vectors: kern.AddressOf(&weights[query*pitch+key]), Items: s.items, Count: s.keys, Eights: kern.Padded(channels) / 8,
			DstStep: dst.step, VectorStep: (s.advance*pitch + 1) * size, Advance: s.advance * queries.step, Step: queries.step,
			WeightStep: pitch * size, Add: w.at.Member, ItemsAhead: dst.ahead,
		}
		w.strips.Sums()
	}
}
