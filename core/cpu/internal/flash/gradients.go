// SPDX-License-Identifier: MIT

package flash

import (
	"math"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// One pass over the queries can compute all gradients with five matrix products, where two passes
// take seven. The products with a tile's queries are added to the gradients of the keys in the
// tensors, tile by tile, by one goroutine per key head and dilation group.

// FewestTasks is the number of tasks from which one pass is faster, as it cannot divide them; tests
// change it.
var FewestTasks = int64(8)

// chooseGradients makes one task per key head and dilation group, or returns why two passes are
// better.
func (l *plan) chooseGradients() string {
	w, p := l.walk, l.walk.Problem
	switch {
	case p.Extra > 0 || p.SkipsQueries():
		return "there are additional tokens, or only some queries are computed"
	case !w.Apart() || l.padded(int(p.HeadDim)) != int(p.HeadDim) || l.padded(int(p.ValueDim)) != int(p.ValueDim):
		return "gradients of keys cannot be added up in tensors"
	case w.Group > walk.LargestGroup:
		return "groups of query heads are too large"
	}
	if w.CutHeads(); w.Tasks < FewestTasks {
		return "there are too few tasks"
	}
	return ""
}

// scatters reports whether this is the pass of all gradients.
func (l *plan) scatters() bool { return l.walk.Products.Scatter }

// clearKeys sets the gradients of the keys of a head and dilation group to 0.
func (w *worker) clearKeys() {
	l := &w.at.Lines
	for n0 := range l[0].Keys {
		for n1 := range l[1].Keys {
			for _, role := range [2]core.Role{core.DKey, core.DValue} {
				row := w.at.Source(role, n0, n1, 0, w.at.KVHead, w.channels(role))
				for range l[2].Keys {
					clear(unsafe.Slice((*float32)(row.P.Pointer()), row.Channels))
					row.P = row.P.Add(row.Step)
				}
			}
		}
	}
}

// channels is the number of channels of the gradients of keys or values.
func (w *worker) channels(role core.Role) int {
	if role == core.DKey {
		return int(w.problem.HeadDim)
	}
	return int(w.problem.ValueDim)
}

// scatter adds the contributions of the items to the gradients of the piece's keys.
func (w *worker) scatter() {
	x, m := &w.items, &w.met
	for i := range m.segments {
		s := &m.segments[i]
		w.scatterTo(core.DValue, s, m.weights, x.vo, x.oddVO)
		w.scatterTo(core.DKey, s, m.gradients, x.qk, x.oddQK)
	}
}

// scatterTo adds the items' channels, times weights, to the gradients of a segment's keys. The
// channels of the items in odd are not finite: these items are left out of the products, as 0 times
// infinity is NaN, and added one by one to the keys that they meet.
func (w *worker) scatterTo(role core.Role, s *segment, weights, channels []float32, odd []int) {
	x, k := &w.items, w.plan.kernels.Dense
	to := w.at.Source(role, s.m0, s.m1, s.of.from, w.at.KVHead, w.channels(role))
	depth := to.Channels
	finite := channels
	if len(odd) > 0 {
		finite = w.withoutOdd(channels, depth, odd)
	}
	for _, g := range s.of.groups {
		first, row := g.first*k.Lanes, s.row(g.from)
		for c := 0; c < depth; c += k.MostVectors * k.Lanes {
			w.call = abi.Product{
				A: kern.AddressOf(&weights[row*x.width+first]), B: kern.AddressOf(&finite[first*depth+c]),
				C:    to.P.Add((g.from-s.of.from)*to.Step + c*kern.Float32Bytes),
				Rows: g.to - g.from, Depth: min(g.vectors*k.Lanes, x.count-first), Vectors: min(k.MostVectors, (depth-c)/k.Lanes), Add: 1,
				ARow: x.width * kern.Float32Bytes, ADepth: kern.Float32Bytes, BDepth: depth * kern.Float32Bytes, CRow: to.Step,
			}
			k.Product(&w.call)
		}
	}
	for _, i := range odd {
		position := i / (x.rows * x.heads)
		for key := max(s.of.lo[position], s.of.from); key < min(s.of.hi[position], s.of.to); key++ {
			weight := weights[s.row(key)*x.width+i]
			sums := unsafe.Slice((*float32)(to.P.Add((key-s.of.from)*to.Step).Pointer()), depth)
			for c, v := range channels[i*depth:][:depth] {
				sums[c] += weight * v
			}
		}
	}
}

// withoutOdd returns a copy of the items' channels in which those of the items in odd are 0.
func (w *worker) withoutOdd(channels []float32, depth int, odd []int) []float32 {
	scratch.Grow(w.Memory, &w.items.finite, len(channels))
	copy(w.items.finite, channels)
	for _, i := range odd {
		clear(w.items.finite[i*depth:][:depth])
	}
	return w.items.finite
}

// findOdd lists the items whose channels are not finite.
func (w *worker) findOdd(odd []int, channels []float32, depth int) []int {
	odd = odd[:0]
	for i := range w.items.count {
		row := kern.Source{P: kern.AddressOf(&channels[i*depth]), Channels: depth, DType: core.Float32}
		if squares := float64(w.move.Dot(row, row)); math.IsNaN(squares) || math.IsInf(squares, 0) {
			odd = append(odd, i)
		}
	}
	return odd
}
