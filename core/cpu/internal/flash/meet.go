// SPDX-License-Identifier: MIT

package flash

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// segment is the part of a piece that comes from one row of keys: the keys of its band's
// current span.
type segment struct {
	m0, m1, member int
	of             *band
	at             int // index of its first key in the piece

	qk, vo kern.Source
}

// met is a piece: segments of keys that are processed together.
type met struct {
	segments           []segment
	keys               int
	weights, gradients []float32 // [key][item]
	qk, vo             []float32 // [key][channel], converted copies if kernels cannot read the tensors
	lse, delta         []float32 // [key], inverse walk
	finite             []float32 // [key][channel], with rows that are not finite set to 0
}

// meetRow adds the keys of a row to the piece, and finishes pieces as they become full.
func (w *worker) meetRow(s segment) {
	for number := range s.of.spans {
		if s.of.spans > 1 {
			w.finishPiece() // it needs the current span, which take replaces
		}
		s.of.take(number)
		w.meet(s)
	}
}

// meet adds a segment to the piece. If there is no room it finishes the piece first.
func (w *worker) meet(s segment) {
	m := &w.met
	n := s.of.to - s.of.from
	if m.keys+n > piece {
		w.finishPiece()
	}
	s.at = m.keys
	m.keys += n
	m.segments = append(m.segments, s)
}

// finishPiece processes the keys of the piece and empties it.
func (w *worker) finishPiece() {
	m, x := &w.met, &w.items
	if m.keys == 0 {
		return
	}
	scratch.Grow(w.Memory, &m.weights, m.keys*x.width)
	if w.products.DOutV {
		scratch.Grow(w.Memory, &m.gradients, m.keys*x.width)
	}
	w.readKeys()
	for i := range m.segments {
		s := &m.segments[i]
		w.score(s, m.weights, s.qk, x.qkT)
		w.mask(s, m.weights, float32(math.Inf(-1)))
	}
	if w.kind == walk.AttnOut {
		w.softmax()
	} else {
		w.probabilities()
	}
	if w.products.SumVO {
		w.sum(m.weights, x.sumVO, false)
	}
	if w.products.DOutV {
		w.logitGradients()
	}
	if w.products.SumQK {
		w.sum(m.gradients, x.sumQK, true)
	}
	if w.products.Scatter {
		w.scatter()
	}
	m.segments, m.keys = m.segments[:0], 0
}

// readKeys locates the channels of the keys, and copies those that kernels cannot read
// directly.
func (w *worker) readKeys() {
	m, inverse := &w.met, w.kind.Inverse()
	qk, vo := w.at.MetRoles()
	d, dv := int(w.problem.HeadDim), int(w.problem.ValueDim)
	for i := range m.segments {
		s := &m.segments[i]
		s.qk = w.readable(s, qk, d, &m.qk)
		s.vo = w.readable(s, vo, dv, &m.vo)
		if !inverse {
			continue
		}
		scratch.Grow(w.Memory, &m.lse, piece)
		scratch.Grow(w.Memory, &m.delta, piece)
		for n := range s.of.to - s.of.from {
			m.lse[s.at+n], m.delta[s.at+n] = w.numbersOf(s.m0, s.m1, s.of.from+n, w.at.MetHead(s.member))
		}
	}
}

// readable returns a segment's channels as float32 in whole vectors, in a copy if necessary.
func (w *worker) readable(s *segment, role core.Role, channels int, copies *[]float32) kern.Source {
	from := w.at.Source(role, s.m0, s.m1, s.of.from, w.at.MetHead(s.member), channels)
	depth := w.plan.padded(channels)
	if from.DType == core.Float32 && channels == depth {
		return from
	}
	scratch.Grow(w.Memory, copies, piece*depth)
	to := (*copies)[s.at*depth:]
	w.move.Load(to, depth, from, s.of.to-s.of.from, 1)
	return kern.Source{P: kern.AddressOf(&to[0]), Step: depth * kern.Float32Bytes, Channels: channels, DType: core.Float32}
}

// row is the index of a key in the piece.
func (s *segment) row(key int) int { return s.at + key - s.of.from }

// score computes the dot products of a segment's keys with the items.
func (w *worker) score(s *segment, scores []float32, from kern.Source, items []float32) {
	x, lanes := &w.items, w.plan.kernels.Dense.Lanes
	for _, g := range s.of.groups {
		w.call = abi.Product{
			A: from.P.Add((g.from - s.of.from) * from.Step), B: kern.AddressOf(&items[g.first*lanes]),
			C:    kern.AddressOf(&scores[s.row(g.from)*x.width+g.first*lanes]),
			Rows: g.to - g.from, Depth: from.Channels, Vectors: g.vectors,
			ARow: from.Step, ADepth: kern.Float32Bytes, BDepth: x.width * kern.Float32Bytes, CRow: x.width * kern.Float32Bytes,
		}
		w.plan.kernels.Dense.Product(&w.call)
	}
}

// mask sets the elements of items that do not meet the key to a value.
func (w *worker) mask(s *segment, of []float32, value float32) {
	x, lanes := &w.items, w.plan.kernels.Dense.Lanes
	each := x.rows * x.heads
	for _, g := range s.of.groups {
		if g.whole {
			continue
		}
		first, end := g.first*lanes, min((g.first+g.vectors)*lanes, x.count)
		for key := g.from; key < g.to; key++ {
			p := s.of.meeting(key)
			from, to := max(min(p.from*each, end), first), min(max(p.to*each, first), end)
			if from == first && to == end {
				continue
			}
			row := of[s.row(key)*x.width:][:x.width]
			fill(row[first:from], value)
			fill(row[to:end], value)
		}
	}
}

func fill(s []float32, value float32) {
	for i := range s {
		s[i] = value
	}
}

// eachColumns calls a kernel for each group of each segment.
func (w *worker) eachColumns(kernel func(c *abi.Columns)) {
	x, m, c := &w.items, &w.met, &w.columns
	for i := range m.segments {
		s := &m.segments[i]
		for _, g := range s.of.groups {
			first, row := g.first*w.plan.kernels.Dense.Lanes, s.row(g.from)
			*c = abi.Columns{
				Weights: kern.AddressOf(&m.weights[row*x.width+first]), Sums: kern.AddressOf(&x.sum[first]),
				Rows: g.to - g.from, Vectors: g.vectors, Row: x.width * kern.Float32Bytes,
			}
			if w.products.DOutV {
				c.Gradients = kern.AddressOf(&m.gradients[row*x.width+first])
			}
			switch w.kind {
			case walk.AttnOut:
				c.Max, c.Offsets = kern.AddressOf(&x.max[first]), kern.AddressOf(&x.offset[first])
			case walk.AttnQuery, walk.AttnGradients:
				c.Offsets, c.Deltas = kern.AddressOf(&x.lse[first]), kern.AddressOf(&x.delta[first])
			default:
				c.Offsets, c.Deltas = kern.AddressOf(&m.lse[row]), kern.AddressOf(&m.delta[row])
			}
			kernel(c)
		}
	}
}

// softmax turns logits into weights relative to the running maximum.
func (w *worker) softmax() {
	x, k := &w.items, w.plan.kernels.Dense
	scratch.Grow(w.Memory, &x.before, x.width)
	scratch.Grow(w.Memory, &x.offset, x.width)
	copy(x.before, x.max)
	w.eachColumns(k.Max)
	depth := w.plan.padded(int(w.problem.ValueDim))
	for i, before := range x.before {
		top := x.max[i]
		x.offset[i] = top
		if math.IsInf(float64(top), -1) {
			x.offset[i] = 0
		}
		if x.sum[i] == 0 || top == before {
			continue
		}
		factor := float32(math.Exp(float64(before - top)))
		x.sum[i] *= factor
		sums := x.sumVO[i*depth : (i+1)*depth]
		for c := range sums {
			sums[c] *= factor
		}
	}
	w.eachColumns(k.Exp)
}

// probabilities turns logits into softmax weights, using the known lse.
func (w *worker) probabilities() {
	kernel := w.plan.kernels.Dense.Exp
	if w.kind.Inverse() {
		kernel = w.plan.kernels.Dense.ExpRows
	}
	w.eachColumns(kernel)
	for i := range w.met.segments {
		w.mask(&w.met.segments[i], w.met.weights, 0) // elements that are not met are NaN if lse is
	}
}

// logitGradients computes the gradients of logits.
func (w *worker) logitGradients() {
	m, x := &w.met, &w.items
	kernel := w.plan.kernels.Dense.Gradients
	if w.kind.Inverse() {
		kernel = w.plan.kernels.Dense.GradientRows
	}
	for i := range m.segments {
		w.score(&m.segments[i], m.gradients, m.segments[i].vo, x.voT)
	}
	w.eachColumns(kernel)
	for i := range m.segments {
		w.mask(&m.segments[i], m.gradients, 0) // elements that are not met may be NaN
	}
}

// sum adds the keys' channels (QK if qk is true, else VO), times weights, to the items' sums.
func (w *worker) sum(weights, sums []float32, qk bool) {
	x, k := &w.items, w.plan.kernels.Dense
	for i := range w.met.segments {
		s := &w.met.segments[i]
		from := s.vo
		if qk {
			from = s.qk
		}
		depth := w.plan.padded(from.Channels)
		for _, g := range s.of.groups {
			first, row := g.first*k.Lanes, s.row(g.from)
			read := from
			if !g.whole {
				read = w.finite(s, &g, weights, sums, from)
			}
			for c := 0; c < depth; c += k.MostVectors * k.Lanes {
				w.call = abi.Product{
					A: kern.AddressOf(&weights[row*x.width+first]), B: read.P.Add((g.from-s.of.from)*read.Step + c*kern.Float32Bytes),
					C:    kern.AddressOf(&sums[first*depth+c]),
					Rows: min(g.vectors*k.Lanes, x.count-first), Depth: g.to - g.from, Vectors: min(k.MostVectors, (depth-c)/k.Lanes), Add: 1,
					ARow: kern.Float32Bytes, ADepth: x.width * kern.Float32Bytes, BDepth: read.Step, CRow: depth * kern.Float32Bytes,
				}
				k.Product(&w.call)
			}
		}
	}
}

// finite returns the keys' channels with zeros in place of keys that hold infinities or NaN and
// that some item of the group does not meet, because 0 times infinity is NaN. It adds the
// contributions of these keys to the items that meet them.
func (w *worker) finite(s *segment, g *group, weights, sums []float32, from kern.Source) kern.Source {
	x, m := &w.items, &w.met
	depth, lanes, each := w.plan.padded(from.Channels), w.plan.kernels.Dense.Lanes, x.rows*x.heads
	read := from
	first, end := g.first*lanes, min((g.first+g.vectors)*lanes, x.count)
	for key := g.from; key < g.to; key++ {
		p := s.of.meeting(key)
		low, high := max(p.from*each, first), min(p.to*each, end)
		if low == first && high == end {
			continue
		}
		at := key - s.of.from
		row := from
		row.P = from.P.Add(at * from.Step)
		if squares := w.move.Dot(row, row); !math.IsNaN(float64(squares)) && !math.IsInf(float64(squares), 0) {
			continue
		}
		if read.P == from.P {
			scratch.Grow(w.Memory, &m.finite, piece*depth)
			w.move.Load(m.finite, depth, from, s.of.to-s.of.from, 1)
			read.P, read.Step = kern.AddressOf(&m.finite[0]), depth*kern.Float32Bytes
		}
		channels := m.finite[at*depth:][:from.Channels]
		for i := low; i < high; i++ {
			weight := weights[s.row(key)*x.width+i]
			for c, v := range channels {
				sums[i*depth+c] += weight * v
			}
		}
		clear(channels)
	}
	return read
}
