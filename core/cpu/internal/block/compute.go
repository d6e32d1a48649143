// SPDX-License-Identifier: MIT

package block

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

// compute adds the keys that the rows of items from n1 on meet to the items' sums. nth is the
// index of the query head, counted from the cursor's Member.
func (w *worker) compute(n0, n1, rows, nth int) {
	d, dv, k := int(w.problem.HeadDim), int(w.problem.ValueDim), w.plan.kernels.Block
	products, done := 0, 0
	for _, wanted := range [6]bool{true, w.products.DOutV, w.products.SumQK, w.products.SumVO, w.products.Scatter, w.products.Scatter} {
		if wanted {
			products++
		}
	}
	ahead := func() []abi.Stream {
		done++
		return share(w.ahead, done-1, products)
	}
	w.score(w.weights, w.qk, w.panel.qkT, d, ahead())
	w.addBias(n0, n1, rows)
	if w.products.DOutV {
		w.score(w.gradients, w.vo, w.panel.voT, dv, ahead())
	}
	for i := range w.runs {
		w.weigh(&w.runs[i])
	}
	w.binGradients(n0, n1, rows, nth)
	logits := w.weights // or the gradients of logits
	if w.kind != walk.AttnOut {
		logits = w.gradients
	}
	if w.products.SumVO {
		w.eachPart(k.Accumulate, w.sums(w.sumVO), w.weights, w.panel.vo, dv, ahead())
	}
	if w.products.SumQK {
		w.eachPart(k.Accumulate, w.sums(w.sumQK), logits, w.panel.qk, d, ahead())
	}
	if w.products.Scatter {
		w.eachPart(k.Scatter, w.vo, w.weights, w.panel.scatteredVO, dv, ahead())
		w.eachPart(k.Scatter, w.qk, logits, w.panel.scatteredQK, d, ahead())
	}
}

// weigh replaces scores by weights and, in passes for gradients, the gradients of weights by
// those of scores.
func (w *worker) weigh(r *quadRun) {
	k, m, first := w.plan.kernels.Block, &w.met, 4*r.first*w.weightItem
	w.call = abi.Block{
		Quads: unsafe.Pointer(&w.quads[r.first]), Offsets: unsafe.Pointer(&m.offsets[0]), Masks: unsafe.Pointer(&m.masks[0]),
		Weights: unsafe.Pointer(&w.weights[first]), LSE: unsafe.Pointer(&w.numbers[2*r.first]), Delta: unsafe.Pointer(&w.numbers[2*w.numberRow+2*r.first]),
		Lanes: w.plan.lanes, Count: r.count, Groups: len(m.offsets), Wide: r.wide,
		GroupStep: w.plan.wide * w.plan.lanes * kern.Float32Bytes, WeightItem: w.weightItem * kern.Float32Bytes, NumberRow: w.numberRow * kern.Float32Bytes,
	}
	if w.kind == walk.AttnOut {
		k.Softmax(&w.call)
		return
	}
	w.call.Gradients = unsafe.Pointer(&w.gradients[first])
	if w.queries() {
		k.GradientItems(&w.call)
		return
	}
	w.call.LSE, w.call.Delta = unsafe.Pointer(&w.panel.lse[0]), unsafe.Pointer(&w.panel.delta[0])
	k.GradientLanes(&w.call)
}

// score computes the dot products of all quads with the keys that they meet.
func (w *worker) score(dst, items, keys []float32, channels int, ahead []abi.Stream) {
	l, m, k := w.plan, &w.met, w.plan.kernels.Block
	groups, item := len(m.offsets), w.item*kern.Float32Bytes
	chunks := kern.CeilDiv(groups, k.MostGroups)
	chunk := kern.CeilDiv(groups, chunks)
	chunks = kern.CeilDiv(groups, chunk)
	w.call = abi.Block{
		Lanes: l.lanes, Channels: channels, Pitch: l.channelPitch() * kern.Float32Bytes, GroupStep: l.wide * l.lanes * kern.Float32Bytes,
		WeightItem: w.weightItem * kern.Float32Bytes, Item: item, Row: w.numberRow * item,
	}
	c := &w.call
	for g := 0; g < groups; g += chunk {
		streams, count := share(ahead, g/chunk, chunks), min(chunk, groups-g)
		c.Offsets, c.Ahead = unsafe.Pointer(&m.offsets[g]), unsafe.Pointer(unsafe.SliceData(streams))
		c.Groups, c.Upper, c.Lower = count, unmet(m.masks[g][1]), unmet(m.masks[g+count-1][0])
		for i := range w.runs {
			r := &w.runs[i]
			c.Quads, c.Vectors, c.Count = unsafe.Pointer(&w.quads[r.first]), unsafe.Pointer(&items[2*r.first*w.item]), r.count
			c.Streams = len(streams)
			for vector := range r.wide {
				c.Weights, c.Panel = unsafe.Pointer(&dst[4*r.first*w.weightItem+(g*l.wide+vector)*l.lanes]), unsafe.Pointer(&keys[vector*l.lanes])
				k.Score(c)
				c.Streams = 0 // prefetched
			}
		}
	}
}

// unmet is 1 if the mask says that no row of a group is met, else 0.
func unmet(mask uint32) int {
	if mask == 0 {
		return 1
	}
	return 0
}

// sums returns the sums of the current rows of items, cleared at the start of a summation.
func (w *worker) sums(of []float32) []float32 {
	of = of[w.reach.at:][:2*w.numberRow*w.item]
	if w.reach.first {
		clear(of)
	}
	return of
}

// eachPart calls a kernel, part by part, for the lanes that the quads meet.
func (w *worker) eachPart(kernel func(*abi.Block), vectors, weights, rows []float32, channels int, ahead []abi.Stream) {
	l, m, item := w.plan, &w.met, w.item*kern.Float32Bytes
	w.call = abi.Block{
		Quads: unsafe.Pointer(&w.quads[0]), Weights: unsafe.Pointer(&weights[0]), Vectors: unsafe.Pointer(&vectors[0]), Panel: unsafe.Pointer(&rows[0]),
		Lanes: l.lanes, Count: len(w.quads), Channels: l.whole(channels), Lane: l.depth * kern.Float32Bytes, Column: l.rows * kern.Float32Bytes,
		WeightItem: w.weightItem * kern.Float32Bytes, Item: item, Row: w.numberRow * item,
	}
	c := &w.call
	for i := range m.parts {
		p := &m.parts[i]
		if p.upper+p.both+p.lower == 0 {
			continue
		}
		streams := share(ahead, i, len(m.parts))
		c.Rows, c.Ahead, c.Streams = unsafe.Pointer(&m.list[p.first]), unsafe.Pointer(unsafe.SliceData(streams)), len(streams)
		c.Upper, c.Both, c.Lower = p.upper, p.both, p.lower
		kernel(c)
	}
}
