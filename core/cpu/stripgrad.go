// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// The gradients of a strip take one walk: it computes the weights of its own
// queries and of all that meet its own keys, so that the gradients of both can be
// summed up. Own are the positions that no other strip stores.

// own is the part of a strip that is stored, as seen from its first query.
type own struct {
	first, count int
	keys         []stretch // of own keys, whose "keys" are the queries that meet them
	lo, hi       []int     // [own key] queries that meet it
}

// planGradients sets own positions, n <= number < n+count, and the tile to all
// queries that are needed for them.
func (t *tile[T]) planGradients(n, count int) {
	o := &t.strip.own
	o.lo, o.hi = grow(o.lo, count), grow(o.hi, count)
	from, to := n, n+count
	for i := range count {
		o.lo[i], o.hi[i] = t.lines[2].queriesOf(n + i)
		if o.lo[i] < o.hi[i] {
			from, to = min(from, o.lo[i]), max(to, o.hi[i])
		}
	}
	o.first, o.count = n-from, count
	o.keys = findStretches(o.keys, o.lo, o.hi)
	t.planStrip(from, to-from)
}

// gradientStrip computes the gradients of the own positions for one key head.
func (t *tile[T]) gradientStrip() {
	b := &t.strip
	d, dv, n, keys := int(t.p.HeadDim), int(t.p.ValueDim), t.place[2]+b.own.first, t.high-t.low
	dKey, dValue := t.rows(core.DKey, n, t.kvHead, d), t.rows(core.DValue, n, t.kvHead, dv)
	key := t.read(t.rows(core.Key, t.low, t.kvHead, d), keys, &b.loaded[0])
	value := t.read(t.rows(core.Value, t.low, t.kvHead, dv), keys, &b.loaded[1])
	for t.member = range t.group {
		head := t.kvHead*t.group + t.member
		query := t.read(t.rows(core.Query, t.place[2], head, d), t.positions, &b.loaded[2])
		dOut := t.read(t.rows(core.DOut, t.place[2], head, dv), t.positions, &b.loaded[3])
		t.stripWeights(head, query, key, dOut, value)
		if t.tensors[core.DQuery].given() {
			s := t.rows(core.DQuery, n, head, d)
			t.sumStretches(t.target(s, b.own.count, &b.stored[0]), t.gradients, key, d, &b.factors[0], 0)
			t.keep(s, b.own.count, b.stored[0])
		}
		if t.tensors[core.DKey].given() {
			t.sumQueries(t.target(dKey, b.own.count, &b.stored[1]), t.gradients, query, d, &b.factors[0])
		}
		if t.tensors[core.DValue].given() {
			t.sumQueries(t.target(dValue, b.own.count, &b.stored[2]), t.scores, dOut, dv, &b.factors[1])
		}
	}
	if t.tensors[core.DKey].given() {
		t.keep(dKey, b.own.count, b.stored[1])
	}
	if t.tensors[core.DValue].given() {
		t.keep(dValue, b.own.count, b.stored[2])
	}
}

// stripWeights computes the weights and the gradients of the logits.
func (t *tile[T]) stripWeights(head int, query, key, dOut, value view) {
	t.scoreStretches(&t.scores, query, key, int(t.p.HeadDim), &t.strip.factors[0])
	t.scoreStretches(&t.gradients, dOut, value, int(t.p.ValueDim), &t.strip.factors[1])
	t.stripDeltas(head, dOut)
	lse := t.rows(core.LSE, t.place[2], head, 1)
	t.lse = grow(t.lse, t.positions)
	load(t.lse, lse.p, lse.step, t.p.DType.Accumulator())
	pitch := t.stripPitch()
	for i := range t.strip.stretches {
		s := &t.strip.stretches[i]
		at := s.item*pitch + s.low - t.low
		switch {
		case s.keys == 0:
		case t.simd == nil:
			stripGradients(t.scores[at:], t.gradients[at:], t.lse[s.item:], t.delta[s.item:], s.items, s.keys, pitch+s.advance)
		default:
			t.simd.stripGradients(unsafe.Pointer(&t.scores[at]), unsafe.Pointer(&t.gradients[at]), t.maskKeys(s.keys),
				unsafe.Pointer(&t.lse[s.item]), unsafe.Pointer(&t.delta[s.item]), s.items, padded(s.keys)/8, (pitch+s.advance)*elementSize[T]())
		}
	}
}

// stripDeltas computes for all queries what deltaOf does for one.
func (t *tile[T]) stripDeltas(head int, dOut view) {
	b, size, dv := &t.strip, elementSize[T](), int(t.p.ValueDim)
	out := t.read(t.rows(core.Out, t.place[2], head, dv), t.positions, &b.loaded[4])
	t.delta = grow(t.delta, t.positions+8)
	b.call = stripCall{
		dst: addressOf(&t.delta[0]), vectors: dOut.p, rows: out.p, factors: addressOf(&b.factors[1]),
		items: t.positions, count: 1, blocks: padded(dv) / 8,
		dstStep: size, vectorStep: dOut.step, advance: out.step, step: out.step, rowsAhead: out.ahead,
	}
	t.dots()
	if !t.tensors[core.DLSE].given() {
		return
	}
	dLSE := t.rows(core.DLSE, t.place[2], head, 1)
	t.lse = grow(t.lse, t.positions)
	load(t.lse, dLSE.p, dLSE.step, t.p.DType.Accumulator())
	for r, v := range t.lse {
		t.delta[r] -= v
	}
}

// sumQueries adds up for own keys the rows of the queries that meet them, times
// their weights and a factor; the members of a group come on top of one another.
func (t *tile[T]) sumQueries(dst view, weights []T, queries view, channels int, factor *T) {
	size, pitch, o := elementSize[T](), t.stripPitch(), &t.strip.own
	for i := range o.keys {
		s := &o.keys[i]
		query := s.low - t.place[2]
		if s.keys == 0 {
			query = 0
		}
		key := t.place[2] + o.first + s.item - t.low
		t.strip.call = stripCall{
			dst: dst.row(s.item), rows: queries.row(query), factors: addressOf(factor),
			vectors: addressOf(&weights[query*pitch+key]), items: s.items, count: s.keys, blocks: padded(channels) / 8,
			dstStep: dst.step, vectorStep: (s.advance*pitch + 1) * size, advance: s.advance * queries.step, step: queries.step,
			weightStep: pitch * size, add: t.member, itemsAhead: dst.ahead,
		}
		t.sums()
	}
}
