// SPDX-License-Identifier: MIT

package panel

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// keyRow is one row of keys: all lanes of a tile at one position of the slow axes. In an
// inverse walk it is a row of queries of one query head.
type keyRow struct {
	n0, n1 int
	member int // query head of the group, inverse walk only
	slot   int
}

// packed is a panel: rows of keys in slots of width lanes. The contents of unused lanes and
// channels are undefined.
type packed[T kern.Number] struct {
	slots, width int
	qkT, voT     []T   // [channel][slot][lane], for scores
	qk, vo       []T   // [slot][lane][padded channel], for sums
	lse, delta   []T   // [slot][lane], inverse walk of fused attention
	tags         []int // [slot] index on axis 1 of the packed row, or -1
}

func (b *packed[T]) size(memory *scratch.Memory, slots, width, qk, vo int, products walk.Products, scalars bool) {
	b.slots, b.width = slots, width
	lanes := slots * width
	if products.QK {
		scratch.Grow(memory, &b.qkT, lanes*kern.Padded(qk)+kern.Slack)
	}
	if products.DOutV {
		scratch.Grow(memory, &b.voT, lanes*kern.Padded(vo)+kern.Slack)
	}
	if products.SumQK || products.QK {
		scratch.Grow(memory, &b.qk, (lanes+8)*kern.Padded(qk)+kern.Slack)
	}
	if products.SumVO || products.DOutV {
		scratch.Grow(memory, &b.vo, (lanes+8)*kern.Padded(vo)+kern.Slack)
	}
	if scalars {
		scratch.Grow(memory, &b.lse, lanes+kern.Slack)
		scratch.Grow(memory, &b.delta, lanes+kern.Slack)
	}
	b.tags = kern.Grow(b.tags, slots)
	b.forget()
}

// forget marks all slots as not packed.
func (b *packed[T]) forget() {
	for i := range b.tags {
		b.tags[i] = -1
	}
}

// pack packs a row into its slot.
func (w *worker[T]) pack(r *keyRow) {
	b := w.s.panel
	qk, vo := w.at.MetRoles()
	if w.products.QK || w.products.SumQK {
		w.packChannels(b.qkT, b.qk, r.slot, w.keys(qk, r, int(w.problem.HeadDim)), w.products.QK, w.products.SumQK)
	}
	if w.products.DOutV || w.products.SumVO {
		w.packChannels(b.voT, b.vo, r.slot, w.keys(vo, r, int(w.problem.ValueDim)), w.products.DOutV, w.products.SumVO)
	}
	if w.kind == walk.AttnKey {
		w.packScalars(r)
	}
}

// keys describes a row's channels in a role's tensor.
func (w *worker[T]) keys(role core.Role, r *keyRow, channels int) kern.Source {
	return w.at.Source(role, r.n0, r.n1, w.from, w.at.MetHead(r.member), channels)
}

// packChannels packs the lanes of a source into a slot of transposed (if score) and of rows (if
// sum, or as an intermediate step).
func (w *worker[T]) packChannels(transposed, rows []T, slot int, from kern.Source, score, sum bool) {
	b, lanes := w.s.panel, w.to-w.from
	first, depth, pitch := slot*b.width, kern.Padded(from.Channels), b.slots*b.width
	if score && !sum && w.move.TransposeSource(transposed[first:], from, lanes, pitch) {
		return
	}
	rows = rows[first*depth:]
	w.move.Load(rows, depth, from, lanes, 1)
	if !score {
		return
	}
	for lane := 0; lane < lanes; lane += 8 {
		w.move.Transpose(transposed[first+lane:], rows[lane*depth:], depth, pitch)
	}
}

// packScalars packs lse and delta of a row of queries.
func (w *worker[T]) packScalars(r *keyRow) {
	b, lanes := w.s.panel, w.to-w.from
	at, lse := r.slot*b.width, w.keys(core.LSE, r, 1)
	kern.LoadLSE(b.lse[at:at+lanes], lse.P, lse.Step, lse.DType)
	for lane := range lanes {
		b.delta[at+lane] = w.deltaOf(r.n0, r.n1, w.from+lane, w.at.MetHead(r.member))
	}
}

// deltaOf is d_out . out - d_lse of a query, the term that the gradients of all its logits
// share.
func (w *worker[T]) deltaOf(n0, n1, n2, head int) T {
	channels := int(w.problem.ValueDim)
	sum := w.move.Dot(w.at.Source(core.Out, n0, n1, n2, head, channels), w.at.Source(core.DOut, n0, n1, n2, head, channels))
	if w.at.Run.Given(core.DLSE) {
		scratch.Grow(w.Memory, &w.bias, 1)
		kern.Load(w.bias, w.at.Address(core.DLSE, n0, n1, n2, head), 0, w.problem.DTypeOf(core.DLSE))
		sum -= w.bias[0]
	}
	return sum
}

// prefetch prefetches what row n1 of the tile, the next one, reads first: its items and the
// last row of keys of its windows.
func (w *worker[T]) prefetch(n0, n1 int) {
	if !w.move.Prefetches() || w.plan.walk.Pass.Tokens {
		return
	}
	w.at.Tokens = false
	index := w.at.Index
	w.at.Index[0], w.at.Index[1] = n0, n1
	qk, vo := w.at.ItemRoles()
	if w.products.QK {
		w.prefetchItems(qk, int(w.problem.HeadDim))
	}
	if w.products.DOutV {
		w.prefetchItems(vo, int(w.problem.ValueDim))
	}
	if w.kind == walk.AttnOut {
		w.prefetchItems(core.Out, int(w.problem.ValueDim))
	}
	w.at.Index = index
	lo0, hi0, _ := w.at.Span(0, n0)
	lo1, hi1, _ := w.at.Span(1, n1)
	if keys := w.at.High - w.at.Low; lo1 == hi1 || w.plan.ring == 0 || keys <= 0 || keys > w.plan.width {
		return
	}
	qk, vo = w.at.MetRoles()
	w.from = w.at.Low
	for n := lo0; n < hi0; n++ {
		r := keyRow{n0: n, n1: hi1 - 1}
		for r.member = range w.at.Members() {
			if w.products.QK || w.products.SumQK {
				w.move.Prefetch(w.keys(qk, &r, int(w.problem.HeadDim)), w.at.High-w.at.Low)
			}
			if w.products.DOutV || w.products.SumVO {
				w.move.Prefetch(w.keys(vo, &r, int(w.problem.ValueDim)), w.at.High-w.at.Low)
			}
		}
	}
}

func (w *worker[T]) prefetchItems(role core.Role, channels int) {
	for head := range w.s.heads {
		w.move.Prefetch(w.at.Items(role, head, channels), w.at.Positions)
	}
}

// item is the address of item r in a role's tensor.
func (w *worker[T]) item(role core.Role, r int) core.Address {
	return w.at.Address(role, w.at.Index[0], w.at.Index[1], w.at.Index[2]+w.s.position(r), w.at.ItemHead(r%w.s.heads))
}
