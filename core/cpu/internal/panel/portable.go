// SPDX-License-Identifier: MIT

package panel

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
)

// portable implements arithmetic in Go.
type portable[T kern.Number] struct{ *scores[T] }

func (portable[T]) Narrows() bool { return false }

func (portable[T]) Clipped() {}

func (x portable[T]) Score(dst, items, keys []T, channels int) {
	b, depth := x.panel, kern.Padded(channels)
	for r := range x.items {
		c := &x.clips[r]
		if c.from == c.to {
			continue
		}
		for _, s := range x.segments {
			to := r*x.pitch + s.slot*c.width + c.from - c.base
			from := s.slot*b.width + c.from
			kern.ScoreRows[T](unsafe.Pointer(&dst[to]), unsafe.Pointer(&items[r*depth]), unsafe.Pointer(&keys[from]),
				channels, b.slots*b.width, s.count, c.width, b.width, c.to-c.from)
		}
	}
}

func (x portable[T]) Accumulate(sums, rows []T, channels int) {
	b, depth := x.panel, kern.Padded(channels)
	for r := range x.items {
		c := &x.clips[r]
		if c.from == c.to {
			continue
		}
		for _, s := range x.segments {
			at := r*x.pitch + s.slot*c.width + c.from - c.base
			kern.AccumulateRows[T](unsafe.Pointer(&sums[r*depth]), unsafe.Pointer(&x.weights[at]),
				unsafe.Pointer(&rows[(s.slot*b.width+c.from)*depth]), depth, s.count, c.width, b.width, c.to-c.from)
		}
	}
}

func (portable[T]) Softmax(_, _ []T) bool { return false }

func (x portable[T]) Top(r int, than T) T {
	for i := range x.rows {
		for _, v := range x.lanes(x.weights, r, &x.rows[i]) {
			if !(v <= than) {
				than = v
			}
		}
	}
	return than
}

func (x portable[T]) ExpSum(r int, offset T) (sum T) {
	for i := range x.rows {
		sum += kern.ExpSum(x.lanes(x.weights, r, &x.rows[i]), offset)
	}
	return sum
}

func (x portable[T]) ExpLanes(r int) {
	for i := range x.rows {
		lanes := x.lanes(x.weights, r, &x.rows[i])
		lse := x.panel.lse[x.rows[i].slot*x.panel.width+x.clips[r].from:]
		for lane := range lanes {
			lanes[lane] -= lse[lane]
		}
		kern.ExpSum(lanes, 0)
	}
}

func (x portable[T]) Gradients(r int, delta T) {
	for i := range x.rows {
		weights, gradients := x.lanes(x.weights, r, &x.rows[i]), x.lanes(x.scores.gradients, r, &x.rows[i])
		for lane := range weights {
			weights[lane] *= gradients[lane] - delta
		}
	}
}

func (x portable[T]) GradientLanes(r int) {
	for i := range x.rows {
		weights, gradients := x.lanes(x.weights, r, &x.rows[i]), x.lanes(x.scores.gradients, r, &x.rows[i])
		delta := x.panel.delta[x.rows[i].slot*x.panel.width+x.clips[r].from:]
		for lane := range weights {
			weights[lane] *= gradients[lane] - delta[lane]
		}
	}
}
