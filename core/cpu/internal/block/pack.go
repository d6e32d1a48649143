// SPDX-License-Identifier: MIT

package block

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// mostLanes bounds the lanes of a vector.
const mostLanes = 16

// panel holds packed groups of rows of keys. Absent rows, unused lanes and unused channels
// are undefined.
type panel struct {
	qkT, voT                 []float32               // [channel][slot][lane][row of the group], for scores
	qk, vo                   []float32               // [row slot][lane][channel], for sums
	scatteredQK, scatteredVO []float32               // [row slot][lane][channel] gradient sums of keys, pass of all gradients
	unwritten                []bool                  // [row slot] nothing was stored for the row yet
	lse, delta               []float32               // [slot][lane][row of the group], inverse walk
	tags                     []rowTag                // [slot] the group that is packed
	rowTags                  []rowTag                // [row slot] the row that is packed
	loaded                   []float32               // [row of the group][lane][channel] buffer before transposition
	from                     [mostLanes]core.Address // addresses of lanes, for the transposing kernel
}

func (w *worker) sizePanel() {
	b, l := &w.panel, w.plan
	if w.products.QK {
		scratch.Grow(w.Memory, &b.qkT, l.scoreSize(int(w.problem.HeadDim)))
	}
	if w.products.DOutV {
		scratch.Grow(w.Memory, &b.voT, l.scoreSize(int(w.problem.ValueDim)))
	}
	if w.products.SumQK {
		scratch.Grow(w.Memory, &b.qk, l.rowsSize())
	}
	if w.products.SumVO {
		scratch.Grow(w.Memory, &b.vo, l.rowsSize())
	}
	rows := l.heads * l.planes * l.ring
	if w.products.Scatter {
		scratch.Grow(w.Memory, &b.scatteredQK, l.rowsSize())
		scratch.Grow(w.Memory, &b.scatteredVO, l.rowsSize())
		b.unwritten = kern.Grow(b.unwritten, rows)
	}
	if w.kind.Inverse() {
		size := l.slots()*l.width*l.rows + kern.MaskBits
		scratch.Grow(w.Memory, &b.lse, size)
		scratch.Grow(w.Memory, &b.delta, size)
	}
	b.tags, b.rowTags = kern.Grow(b.tags, l.slots()), kern.Grow(b.rowTags, rows)
}

func (b *panel) forget() {
	for i := range b.tags {
		b.tags[i] = noRow
	}
	for i := range b.rowTags {
		b.rowTags[i] = noRow
	}
}

// packMet packs the groups and rows that the items meet and that are not yet packed.
func (w *worker) packMet() {
	b, m := &w.panel, &w.met
	for i := range m.groups {
		if g := &m.groups[i]; b.tags[g.slot] != g.tag() {
			w.packGroup(g)
			b.tags[g.slot] = g.tag()
		}
	}
	if !w.products.SumQK && !w.products.SumVO {
		return
	}
	for i := range m.rows {
		if r := &m.rows[i]; b.rowTags[r.slot] != r.tag() {
			if w.products.Scatter {
				w.storeScattered(r.slot)
				w.beginScattered(r.slot, r.tag())
			}
			w.packRow(r)
			b.rowTags[r.slot] = r.tag()
		}
	}
}

// keys describes the lanes of row n1 of plane n0 in a role's tensor.
func (w *worker) keys(role core.Role, n0, n1, member, channels int) kern.Source {
	return w.at.Source(role, n0, n1, w.from, w.at.MetHead(member), channels)
}

// packGroup transposes a group of rows into its slot of the score panels.
func (w *worker) packGroup(g *packedRow) {
	qk, vo := w.at.MetRoles()
	if w.products.QK {
		w.transposeGroup(w.panel.qkT, qk, g, int(w.problem.HeadDim))
	}
	if w.products.DOutV {
		w.transposeGroup(w.panel.voT, vo, g, int(w.problem.ValueDim))
	}
	if w.kind.Inverse() {
		w.packNumbers(g)
	}
}

// packRow packs a row into its slot of the row panels.
func (w *worker) packRow(r *packedRow) {
	l, lanes, at := w.plan, w.to-w.from, r.slot*w.plan.rowPitch()
	qk, vo := w.at.MetRoles()
	if w.products.SumQK {
		w.move.Load(w.panel.qk[at:], l.depth, w.keys(qk, r.n0, r.index, r.member, int(w.problem.HeadDim)), lanes, 1)
	}
	if w.products.SumVO {
		w.move.Load(w.panel.vo[at:], l.depth, w.keys(vo, r.n0, r.index, r.member, int(w.problem.ValueDim)), lanes, 1)
	}
}

// transposeGroup transposes the channels of a group's rows into a panel. Absent rows and lanes
// repeat their neighbors, so that nothing is read out of bounds.
func (w *worker) transposeGroup(panel []float32, role core.Role, g *packedRow, channels int) {
	l, from := w.plan, g.index*w.plan.step-w.plan.phase
	end := min(from+l.rows, w.at.MetRows())
	var rows [4]kern.Source
	for i := range l.rows {
		rows[i] = w.transposable(w.keys(role, g.n0, min(max(from+i, 0), end-1), g.member, channels), i)
	}
	dst := panel[g.slot*l.width*l.rows:]
	lanes, step := w.to-w.from, l.lanes/l.rows
	vectors, pitch := l.whole(channels)/l.lanes, l.channelPitch()*kern.Float32Bytes
	addresses := &w.panel.from
	for first := 0; first < lanes; first += step {
		for i, row := range rows[:l.rows] {
			for lane := range step {
				addresses[(lane*l.rows+i)%mostLanes] = row.P.Add(min(first+lane, lanes-1) * row.Step)
			}
		}
		l.kernels.Block.Transpose(unsafe.Pointer(&dst[first*l.rows]), unsafe.Pointer(addresses), vectors, pitch)
	}
}

// transposable returns row i of a group as float32 with whole vectors of channels, converted
// if necessary.
func (w *worker) transposable(x kern.Source, i int) kern.Source {
	l, b := w.plan, &w.panel
	if x.DType == core.Float32 && x.Channels%l.lanes == 0 {
		return x
	}
	size := l.width * l.depth
	scratch.Grow(w.Memory, &b.loaded, l.rows*size+mostLanes)
	row := b.loaded[i*size:]
	w.move.Load(row, l.depth, x, w.to-w.from, 1)
	return kern.Source{P: kern.AddressOf(&row[0]), Step: l.depth * kern.Float32Bytes, Channels: x.Channels, DType: core.Float32}
}

// packNumbers packs lse and delta of the queries of a group.
func (w *worker) packNumbers(g *packedRow) {
	l, b, head, lanes := w.plan, &w.panel, w.at.MetHead(g.member), w.to-w.from
	scratch.Grow(w.Memory, &b.loaded, lanes)
	for i := range l.rows {
		n1 := g.index*l.step - l.phase + i
		if n1 < 0 || n1 >= w.at.Lines[1].Queries {
			continue
		}
		at, lse := g.slot*l.width*l.rows+i, w.keys(core.LSE, g.n0, n1, g.member, 1)
		kern.LoadLSE(b.loaded[:lanes], lse.P, lse.Step, lse.DType)
		for lane, v := range b.loaded[:lanes] {
			b.lse[at+lane*l.rows] = v
		}
		w.deltas(b.delta[at:], l.rows, g.n0, n1, w.from, lanes, head)
	}
}
