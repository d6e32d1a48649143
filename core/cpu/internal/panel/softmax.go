// SPDX-License-Identifier: MIT

package panel

import (
	"math"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
)

// arithmetic is what is computed on scores: by the kernels of an instruction set, or in
// portable Go for both types of sums.
type arithmetic[T kern.Number] interface {
	// Narrows reports whether clips of up to 4 lanes may take 4.
	Narrows() bool
	// Clipped is called when there are new clips.
	Clipped()
	// Score takes the inner products of all items with the lanes of keys that they meet.
	Score(dst, items, keys []T, channels int)
	// Accumulate adds the rows that the items meet, times their weights.
	Accumulate(sums, rows []T, channels int)
	// Softmax turns logits into weights, if it can do so for all items at once.
	Softmax(maxima, sums []T) bool
	// Top is the maximum of the logits of item r and of a number; NaN if one of them is.
	Top(r int, than T) T
	// ExpSum replaces the logits of item r by e**(logit-offset) and returns the sum.
	ExpSum(r int, offset T) T
	// ExpLanes is ExpSum with an offset for every lane: the panel's lse.
	ExpLanes(r int)
	// Gradients turns weights of item r and their gradients into gradients of logits, by
	// the item's delta.
	Gradients(r int, delta T)
	// GradientLanes is Gradients with a delta for every lane: the panel's.
	GradientLanes(r int)
}

var (
	_ arithmetic[float32] = (*vector)(nil)
	_ arithmetic[float32] = portable[float32]{}
	_ arithmetic[float64] = portable[float64]{}
)

// softmax turns logits into weights relative to the running maximum.
func (w *worker[T]) softmax() {
	s := &w.s
	fresh := s.fresh
	s.fresh = false
	if fresh && w.do.Softmax(w.max, w.sum) {
		return
	}
	depth := kern.Padded(int(w.problem.ValueDim))
	for r := range s.items {
		c := &s.clips[r]
		if c.from == c.to {
			continue
		}
		top := w.do.Top(r, w.max[r])
		if w.sum[r] != 0 && top != w.max[r] {
			factor := T(math.Exp(float64(w.max[r] - top)))
			w.sum[r] *= factor
			sums := w.sumVO[r*depth : (r+1)*depth]
			for i := range sums {
				sums[i] *= factor
			}
		}
		w.max[r] = top
		if math.IsInf(float64(top), -1) {
			top = 0
		}
		w.sum[r] += w.do.ExpSum(r, top)
	}
}

// probabilities turns logits into softmax weights by the known lse.
func (w *worker[T]) probabilities() {
	for r := range w.s.items {
		switch c := &w.s.clips[r]; {
		case c.from == c.to:
		case w.inverse:
			w.do.ExpLanes(r)
		default:
			w.do.ExpSum(r, w.lse[r])
		}
	}
}

// logitGradients turns weights and their gradients into gradients of logits.
func (w *worker[T]) logitGradients() {
	for r := range w.s.items {
		switch c := &w.s.clips[r]; {
		case c.from == c.to:
		case w.inverse:
			w.do.GradientLanes(r)
		default:
			w.do.Gradients(r, w.delta[r])
		}
	}
}
