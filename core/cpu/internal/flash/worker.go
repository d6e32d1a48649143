// SPDX-License-Identifier: MIT

package flash

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// worker is the state of one goroutine. The items of a tile are its positions, times rows that
// meet the same keys, times query heads of the group; item (position*rows + row)*heads + head
// is one of them.
type worker struct {
	*scratch.Memory
	plan     *plan
	problem  *core.Problem
	kind     walk.Kind
	products walk.Products
	at       walk.Cursor
	move     kern.Rows[float32]
	band     band
	tokens   band // the additional tokens

	items items
	met   met
	scale float32

	call    abi.Product
	columns abi.Columns
}

// items are the items that are currently computed.
type items struct {
	rows, heads, count, width int // count is the number of items; width is count rounded up to vectors

	qk, vo       []float32 // [item][channel]
	qkT, voT     []float32 // [channel][item]
	sumQK, sumVO []float32 // [item][channel]
	max, sum     []float32 // [item] running maximum and sum of the softmax
	before       []float32 // [item] max before the piece
	offset       []float32 // [item] max, or 0 if max is -infinity
	lse, delta   []float32 // [item]
	number       []float32

	oddQK, oddVO []int     // pass of all gradients: the items whose channels are not finite
	finite       []float32 // [item][channel] a copy without these
}

// Begin implements engine.Worker.
func (w *worker) Begin(of engine.Plan, run *walk.Run, s *walk.Stage, rows *sched.Stealable[walk.Rows]) {
	w.plan, w.problem = of.(*plan), run.Problem
	w.kind, w.products = s.Walk.Pass.Kind, s.Products
	w.at.Begin(run, s, rows, false)
	w.move.Set = w.plan.kernels
	w.scale = float32(w.problem.Scale)
}

// Task implements engine.Worker.
func (w *worker) Task(n int64) { w.at.Task(n, w) }

// Rows implements engine.Worker.
func (w *worker) Rows(r *walk.Rows, from, end int) { w.at.Stolen(r, from, end, w) }

// Release implements engine.Worker.
func (w *worker) Release() {
	w.at.End()
	w.plan, w.problem, w.call, w.columns = nil, nil, abi.Product{}, abi.Columns{}
	workers.Put(w)
}

// Plan implements walk.Tiles.
func (w *worker) Plan(n, count int) {
	w.at.SetTile(n, count)
	w.band.set(w.at.Lo[:count], w.at.Hi[:count])
	w.items.rows = 0
}

// Column implements walk.Tiles.
func (w *worker) Column(from, to [3]int) {
	if w.plan.scatters() && w.at.Index[2] == 0 {
		w.clearKeys()
	}
	for n0 := from[0]; n0 < to[0]; n0++ {
		w.at.Publish(n0, from[1], to[1])
		step := w.plan.rows()
		for n1, end, ok := w.at.NextRows(step); ok; n1, end, ok = w.at.NextRows(step) {
			for last := min(n1+step, end); n1 < last; {
				n1 += w.alike(n0, n1, last)
			}
		}
	}
}

// alike computes the consecutive rows from n1 on, below end, that meet the same keys as row n1,
// and returns their number.
func (w *worker) alike(n0, n1, end int) int {
	lo0, hi0, _ := w.at.Span(0, n0)
	lo1, hi1, _ := w.at.Span(1, n1)
	rows := 1
	for ; n1+rows < end; rows++ {
		if lo, hi, _ := w.at.Span(1, n1+rows); lo != lo1 || hi != hi1 {
			break
		}
	}
	w.at.Index[0], w.at.Index[1] = n0, n1
	w.lay(rows)
	w.loadItems()
	for member := range w.at.Members() {
		for m0 := lo0; m0 < hi0; m0++ {
			for m1 := lo1; m1 < hi1; m1++ {
				w.meetRow(segment{m0: m0, m1: m1, member: member, of: &w.band})
			}
		}
	}
	w.finishPiece()
	if w.problem.Extra > 0 && !w.kind.Inverse() {
		w.at.Tokens = true
		w.meetRow(segment{of: &w.tokens})
		w.finishPiece()
		w.at.Tokens = false
	}
	w.storeItems()
	return rows
}

// lay sets the layout of items for the given number of rows.
func (w *worker) lay(rows int) {
	x, k := &w.items, w.plan.kernels.Dense
	if x.rows == rows && x.heads == w.at.MembersInHand() {
		return
	}
	x.rows, x.heads = rows, w.at.MembersInHand()
	x.count = w.at.Positions * rows * x.heads
	x.width = w.plan.width(x.count)
	w.band.lay(rows*x.heads, k.Lanes, k.MostVectors)
	if w.problem.Extra > 0 && !w.kind.Inverse() {
		w.tokens.all(w.at.Positions, int(w.problem.Extra))
		w.tokens.lay(rows*x.heads, k.Lanes, k.MostVectors)
	}
}

// source describes a role's channels for the items of one row and one head.
func (w *worker) source(role core.Role, row, head, channels int) kern.Source {
	i := &w.at.Index
	return w.at.Source(role, i[0], i[1]+row, i[2], w.at.ItemHead(head), channels)
}

// loadItems loads the items' channels, with QK channels multiplied by the scale, and
// initializes their sums.
func (w *worker) loadItems() {
	x, qk, vo := &w.items, core.Query, core.DOut
	if w.kind.Inverse() {
		qk, vo = core.Key, core.Value
	}
	d, dv := int(w.problem.HeadDim), int(w.problem.ValueDim)
	w.loadRole(&x.qk, &x.qkT, qk, d, w.scale)
	if w.products.DOutV {
		w.loadRole(&x.vo, &x.voT, vo, dv, 1)
	}
	if w.products.SumQK {
		w.zeros(&x.sumQK, x.width*w.plan.padded(d))
	}
	if w.products.SumVO {
		w.zeros(&x.sumVO, x.width*w.plan.padded(dv))
	}
	w.zeros(&x.sum, x.width)
	switch w.kind {
	case walk.AttnOut:
		scratch.Grow(w.Memory, &x.max, x.width)
		for i := range x.max {
			x.max[i] = float32(math.Inf(-1))
		}
	case walk.AttnQuery, walk.AttnGradients:
		w.zeros(&x.lse, x.width)
		w.zeros(&x.delta, x.width)
		w.eachItem(func(i, row, head, position int) {
			n1, n2, h := w.at.Index[1]+row, w.at.Index[2]+position, w.at.ItemHead(head)
			x.lse[i], x.delta[i] = w.numbersOf(w.at.Index[0], n1, n2, h)
		})
	}
	if w.products.Scatter {
		x.oddQK, x.oddVO = w.findOdd(x.oddQK, x.qk, d), w.findOdd(x.oddVO, x.vo, dv)
	}
}

// eachItem calls f with every item.
func (w *worker) eachItem(f func(i, row, head, position int)) {
	x := &w.items
	for i := range x.count {
		f(i, i/x.heads%x.rows, i%x.heads, i/(x.heads*x.rows))
	}
}

// numbersOf returns a query's lse, which is subtracted from its logits, and its delta =
// d_out . out - d_lse, the term that the gradients of all its logits share.
func (w *worker) numbersOf(n0, n1, n2, head int) (lse, delta float32) {
	channels := int(w.problem.ValueDim)
	delta = w.move.Dot(w.at.Source(core.Out, n0, n1, n2, head, channels), w.at.Source(core.DOut, n0, n1, n2, head, channels))
	if w.at.Run.Given(core.DLSE) {
		delta -= w.number(core.DLSE, n0, n1, n2, head)
	}
	lse = w.number(core.LSE, n0, n1, n2, head)
	if math.IsInf(float64(lse), -1) {
		lse = float32(math.Inf(1)) // makes all weights 0
	}
	return lse, delta
}

func (w *worker) number(role core.Role, n0, n1, n2, head int) float32 {
	x := &w.items
	x.number = kern.Grow(x.number, 1)
	kern.Load(x.number, w.at.Address(role, n0, n1, n2, head), 0, w.problem.DTypeOf(role))
	return x.number[0]
}

func (w *worker) zeros(s *[]float32, n int) {
	scratch.Grow(w.Memory, s, n)
	clear(*s)
}

// loadRole loads the items' channels of a role, times factor, and transposes them.
func (w *worker) loadRole(rows, transposed *[]float32, role core.Role, channels int, factor float32) {
	x, depth := &w.items, kern.Padded(channels)
	scratch.Grow(w.Memory, rows, x.width*depth)
	scratch.Grow(w.Memory, transposed, x.width*depth)
	clear((*rows)[x.count*depth:])
	for row := range x.rows {
		for head := range x.heads {
			w.move.Load((*rows)[(row*x.heads+head)*depth:], x.rows*x.heads*depth, w.source(role, row, head, channels), w.at.Positions, factor)
		}
	}
	for i := 0; i < x.width; i += 8 {
		w.move.Transpose((*transposed)[i:], (*rows)[i*depth:], depth, x.width)
	}
}

// storeItems stores the items' results.
func (w *worker) storeItems() {
	x, d, dv := &w.items, int(w.problem.HeadDim), int(w.problem.ValueDim)
	x.number = append(x.number[:0], w.scale, 1)
	scale, one := x.number[:1], x.number[1:2]
	switch w.kind {
	case walk.AttnOut:
		w.storeAttention(dv)
	case walk.AttnQuery, walk.AttnGradients:
		w.storeRole(core.DQuery, x.sumQK, d, scale, 0)
	default:
		w.storeRole(core.DKey, x.sumQK, d, scale, 0)
		w.storeRole(core.DValue, x.sumVO, dv, one, 0)
	}
}

func (w *worker) storeAttention(channels int) {
	x := &w.items
	if w.at.Run.Given(core.LSE) {
		w.eachItem(func(i, row, head, position int) {
			x.number = append(x.number[:0], x.max[i]+kern.Log(x.sum[i]))
			to := w.at.Address(core.LSE, w.at.Index[0], w.at.Index[1]+row, w.at.Index[2]+position, w.at.ItemHead(head))
			kern.Store(to, 0, w.problem.DTypeOf(core.LSE), x.number, 1)
		})
	}
	for i, v := range x.sum {
		if v != 0 {
			x.sum[i] = 1 / v
		}
	}
	w.storeRole(core.Out, x.sumVO, channels, x.sum, 1)
}

// storeRole stores the items' channels times their factors, which are step elements apart.
func (w *worker) storeRole(role core.Role, src []float32, channels int, factors []float32, step int) {
	if !w.at.Run.Given(role) {
		return
	}
	x, depth := &w.items, w.plan.padded(channels)
	each := x.rows * x.heads
	for row := range x.rows {
		for head := range x.heads {
			first := row*x.heads + head
			to, sums, factors := w.source(role, row, head, channels), src[first*depth:], factors[first*step:]
			if w.at.Adds() {
				w.move.Add(to, sums, each*depth, w.at.Positions, factors, each*step)
				continue
			}
			w.move.Store(to, sums, each*depth, w.at.Positions, factors, each*step)
		}
	}
}
