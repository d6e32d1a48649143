// SPDX-License-Identifier: MIT

package strip

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// forward computes the items of the strip for one query head.
func (w *worker[T]) forward() {
	head, n, count := w.at.QueryHead(0), w.at.Index[2], w.at.Positions
	d, dv, keys := int(w.problem.HeadDim), int(w.problem.ValueDim), w.at.High-w.at.Low
	query := w.read(w.rows(core.Query, n, head, d), count, &w.loaded[0])
	key := w.read(w.rows(core.Key, w.at.Low, w.at.KVHead, d), keys, &w.loaded[1])
	w.score(&w.weights, query, key, d, &w.factors[0])
	w.softmax()
	value := w.read(w.rows(core.Value, w.at.Low, w.at.KVHead, dv), keys, &w.loaded[2])
	out := w.rows(core.Out, n, head, dv)
	w.sumKeys(w.target(out, count, &w.unfinished[0]), w.weights, value, dv, &w.sum[0], 1)
	w.finish(out, count, w.unfinished[0])
	if w.at.Run.Given(core.LSE) {
		lse := w.rows(core.LSE, n, head, 1)
		kern.Store(lse.P, lse.Step, lse.DType, w.lse[:count], 1)
	}
}

// score computes the dot products of items with the keys of their windows. The product of item
// i and a key is dst[i*pitch+key-low].
func (w *worker[T]) score(dst *[]T, items, keys view, channels int, factor *T) {
	size, pitch, low := kern.SizeOf[T](), w.pitch(), w.at.Low
	scratch.Grow(w.Memory, dst, w.at.Positions*pitch+w.at.High-low+kern.Slack)
	for i := range w.stretches {
		s := &w.stretches[i]
		w.strips.Call = abi.Strip{
			Dst: kern.AddressOf(&(*dst)[s.item*pitch+s.low-low]), Vectors: items.row(s.item), Rows: keys.row(s.low - low),
			Factors: kern.AddressOf(factor), Items: s.items, Count: s.keys, Eights: kern.Padded(channels) / 8,
			DstStep: (pitch + s.advance) * size, VectorStep: items.step, Advance: s.advance * keys.step, Step: keys.step,
			RowsAhead: keys.ahead, ItemsAhead: items.ahead,
		}
		w.strips.Dots()
	}
}

// sumKeys computes, for each stored item, the sum of the rows of its window's keys, times their
// weights and the item's factor. weights has the layout of score.
func (w *worker[T]) sumKeys(dst view, weights []T, keys view, channels int, factors *T, factorStep int) {
	size, pitch, low, o := kern.SizeOf[T](), w.pitch(), w.at.Low, &w.stored
	for i := range w.stretches {
		s := w.stretches[i].within(o.first, o.first+o.count)
		if s.items <= 0 {
			continue
		}
		w.strips.Call = abi.Strip{
			Dst: dst.row(s.item - o.first), Vectors: kern.AddressOf(&weights[s.item*pitch+s.low-low]), Rows: keys.row(s.low - low),
			Factors: kern.AddressOf(factors).Add(s.item * factorStep * size), Items: s.items, Count: s.keys, Eights: kern.Padded(channels) / 8,
			DstStep: dst.step, VectorStep: (pitch + s.advance) * size, Advance: s.advance * keys.step, Step: keys.step,
			FactorStep: factorStep * size, WeightStep: size,
			RowsAhead: keys.ahead, ItemsAhead: dst.ahead,
		}
		w.strips.Sums()
	}
}

// softmax turns logits into weights that are not yet normalized, and computes lse. It leaves the
// normalizing factor of each item in w.sum.
func (w *worker[T]) softmax() {
	count, pitch := kern.Padded(w.at.Positions), w.pitch()
	scratch.Grow(w.Memory, &w.max, count)
	scratch.Grow(w.Memory, &w.sum, count)
	scratch.Grow(w.Memory, &w.lse, count)
	for i := range w.stretches {
		s := &w.stretches[i]
		w.strips.Softmax(w.weights[s.item*pitch+s.low-w.at.Low:], w.max[s.item:], w.sum[s.item:], s.items, s.keys, pitch+s.advance)
	}
	w.strips.LogSumExp(w.lse, w.max, w.sum, w.at.Positions)
}
