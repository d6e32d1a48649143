// SPDX-License-Identifier: MIT

package panel

import (
	"math"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
)

// arithmetic is the set of computations on scores. It is implemented by the kernels of an
// instruction set and, for both types of sums, in portable Go.
type arithmetic[T kern.Number] interface {
	// Narrows reports whether clips may have a width of 4 instead of 8.
	Narrows() bool
	// Clipped is called when the clips have changed.
	Clipped()
	// Score computes the dot products of all items with the keys that they meet.
	Score(dst, items, keys []T, channels int)
	// Accumulate adds the rows of keys that the items meet, times their weights, to sums.
	Accumulate(sums, rows []T, channels int)
	// Softmax turns the logits of all items into weights. It returns false, having done
	// nothing, if it cannot do so in one step.
	Softmax(maxima, sums []T) bool
	// Top is the maximum of than and the logits of item r, or NaN if one of them is NaN.
	Top(r int, than T) T
	// ExpSum replaces the logits of item r by e**(logit-offset) and returns their sum.
	ExpSum(r int, offset T) T
	// ExpLanes is ExpSum with an offset per lane, the panel's lse, and without the sum.
	ExpLanes(r int)
	// Gradients replaces the weights of item r by the gradients of its logits, which it
	// computes from the weights, their gradients and the item's delta.
	Gradients(r int, delta T)
	// GradientLanes is Gradients with a delta per lane, from the panel.
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

// probabilities turns logits into softmax weights, using the known lse.
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
