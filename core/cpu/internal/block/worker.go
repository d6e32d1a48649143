// SPDX-License-Identifier: MIT

package block

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// worker is the state of one goroutine in a walk: a tile of quads, the packed keys that
// they meet, and the sums of up to two rows of items, or of all rows of a slab.
type worker struct {
	*scratch.Memory
	plan     *Plan
	problem  *core.Problem
	kind     walk.Kind
	products walk.Products
	at       walk.Cursor
	move     kern.Rows[float32]
	panel    panel
	quads    []abi.Quad
	runs     []quadRun
	met      met
	reach    reach
	from, to int // lanes: range [from, to) of the keys along the fastest axis that the tile meets

	qk, vo             []float32 // [row of items][item][channel]
	sumQK, sumVO       []float32 // [pair of rows][row of items][item][channel]; one pair except with slabs
	weights, gradients []float32 // [quad][item][group][lane]
	numbers            []float32 // [lse, 1/sum of weights or delta][row of items][item]
	item, numberRow    int       // elements per item in qk, vo and their sums, and per row of items in numbers
	weightItem         int       // elements per item in weights

	factors []float32 // scale and 1
	bias    headBias
	bins    []float32 // d_rpb of the group's heads, or nil
	ahead   []abi.Stream
	call    abi.Block
	task    span3
}

// headBias is the bias of a key head's query heads.
type headBias struct {
	entries []float32 // [query head of the key head][entry]
	kvHead  int       // or -1
}

// span3 is a range of items per axis: from <= n < to.
type span3 struct{ from, to [3]int }

// quadRun is a run of neighboring quads whose lanes need the same number of vectors.
type quadRun struct{ first, count, wide int }

// reach is the query heads and planes of keys that are processed together: heads from member
// to members-1 and planes from plane to planes-1.
type reach struct {
	member, members, plane, planes int
	first, last                    bool // the summation begins, or ends, with this reach
	at                             int  // index of the sums of the current rows of items
}

// Begin implements engine.Worker.
func (w *worker) Begin(of engine.Plan, run *walk.Run, s *walk.Stage, rows *sched.Stealable[walk.Rows]) {
	w.plan = of.(*Plan)
	w.problem, w.kind, w.products = run.Problem, s.Walk.Pass.Kind, s.Products
	w.at.Begin(run, s, rows, w.plan.slabs)
	w.move.Set = w.plan.kernels
	w.sizePanel()
	w.bias.kvHead = -1
	w.item = w.plan.whole(w.plan.depth)
}

// queries reports whether gradients of queries are computed.
func (w *worker) queries() bool { return w.kind == walk.AttnQuery || w.kind == walk.AttnGradients }

// Task implements engine.Worker.
func (w *worker) Task(n int64) { w.at.Task(n, w) }

// Rows implements engine.Worker.
func (w *worker) Rows(r *walk.Rows, from, end int) { w.at.Stolen(r, from, end, w) }

// Release implements engine.Worker.
func (w *worker) Release() {
	w.at.End()
	w.plan, w.problem, w.bins, w.call = nil, nil, nil, abi.Block{}
	workers.Put(w)
}

// Plan implements walk.Tiles. It forms the quads of the tile.
func (w *worker) Plan(n, count int) {
	w.at.SetTile(n, count)
	w.from, w.to = w.at.Low, w.at.High
	w.quads, w.runs = kern.Grow(w.quads, kern.CeilDiv(count, 2)), w.runs[:0]
	rows := w.plan.rows
	for i := range w.quads {
		var from, to [2]int
		for j := range min(2, count-2*i) {
			from[j], to[j] = w.at.Lo[2*i+j]-w.from, w.at.Hi[2*i+j]-w.from
		}
		if 2*i+1 == count {
			from[1], to[1] = to[0], to[0]
		}
		w.quads[i] = abi.Quad{
			Panel: from[0] * rows * kern.Float32Bytes, Rows: from[0] * w.plan.depth * kern.Float32Bytes,
			Left: from[1] - from[0], Both: to[0] - from[1], Right: to[1] - to[0],
			Masks: [2]uint32{laneBits(0, to[0]-from[0], rows), laneBits(from[1]-from[0], to[1]-from[0], rows)},
		}
		wide, last := max(kern.CeilDiv((to[1]-from[0])*rows, w.plan.lanes), 1), len(w.runs)-1
		if last < 0 || w.runs[last].wide != wide {
			w.runs = append(w.runs, quadRun{i, 0, wide})
			last++
		}
		w.runs[last].count++
	}
}

// laneBits sets the bits of lanes from <= n < to, each of which has rows elements.
func laneBits(from, to, rows int) uint32 {
	return uint32(uint64(1)<<(to*rows) - uint64(1)<<(from*rows))
}

// Column implements walk.Tiles.
func (w *worker) Column(from, to [3]int) {
	w.bins = walk.Bins[float32](&w.at)
	w.task = span3{from, to}
	if axis := w.plan.walk.ColorAxis; w.at.Stage.Joined && from[axis] > 0 {
		w.resume(axis)
	} else {
		w.panel.forget()
	}
	w.numberRow = 2 * len(w.quads)
	for n0 := from[0]; n0 < to[0]; n0++ {
		lo0, hi0, _ := w.at.Span(0, n0)
		w.reach = reach{members: w.at.Members(), plane: lo0, planes: hi0, first: true, last: true}
		if !w.plan.slabs {
			w.slab(n0, from[1], to[1])
			continue
		}
		for member := range w.at.Members() {
			for plane := lo0; plane < hi0; plane++ {
				w.panel.forget()
				w.reach = reach{member: member, members: member + 1, plane: plane, planes: plane + 1}
				w.reach.first = member == 0 && plane == lo0
				w.reach.last = member == w.at.Members()-1 && plane == hi0-1
				w.slab(n0, from[1], to[1])
			}
		}
	}
	if w.products.Scatter {
		for slot := range w.panel.rowTags {
			w.storeScattered(slot)
		}
	}
}

// slab adds the keys in reach to the sums of the rows of items first <= n1 < end.
func (w *worker) slab(n0, first, end int) {
	size, pairs := 2*w.numberRow*w.item, 1
	if w.plan.slabs {
		pairs = kern.CeilDiv(end-first, 2)
	}
	if w.products.SumQK {
		scratch.Grow(w.Memory, &w.sumQK, pairs*size)
	}
	if w.products.SumVO {
		scratch.Grow(w.Memory, &w.sumVO, pairs*size)
	}
	w.at.Publish(n0, first, end)
	for n1, end, ok := w.at.NextRows(2); ok; n1, end, ok = w.at.NextRows(2) {
		if w.reach.at = 0; w.plan.slabs {
			w.reach.at = (n1 - first) / 2 * size
		}
		w.meetRows(n1, min(2, end-n1))
		w.pair(n0, n1, end)
	}
}

// pair computes one or two rows of items, n1 and n1+1, below end.
func (w *worker) pair(n0, n1, end int) {
	rows, member := min(2, end-n1), w.at.Member
	w.at.Index[0] = n0
	w.packMet()
	members := w.at.MembersInHand()
	for i := range members {
		w.at.Member = member + i
		w.loadItems(n0, n1, rows)
		w.ahead = w.ahead[:0]
		if i < members-1 {
			w.at.Member++
			w.prefetch(n0, n1, rows, false)
		} else if n1+2 < end {
			w.at.Member = member
			w.prefetch(n0, n1+2, min(2, end-n1-2), true)
		}
		w.at.Member = member + i
		w.compute(n0, n1, rows, i)
		if w.reach.last {
			w.storeItems(n0, n1, rows)
		}
	}
	w.at.Member = member
}

// loadItems loads the channels of the rows of items, with QK channels multiplied by the scale,
// and, for gradients of queries, their lse and delta.
func (w *worker) loadItems(n0, n1, rows int) {
	size := w.numberRow * w.item
	qk, vo := w.at.ItemRoles()
	scratch.Grow(w.Memory, &w.numbers, 4*w.numberRow)
	if w.products.QK {
		scratch.Grow(w.Memory, &w.qk, 2*size)
	}
	if w.products.DOutV {
		scratch.Grow(w.Memory, &w.vo, 2*size)
	}
	for i := range rows {
		w.at.Index[0], w.at.Index[1] = n0, n1+i
		if w.products.QK {
			w.move.Load(w.qk[i*size:], w.item, w.at.Items(qk, 0, int(w.problem.HeadDim)), w.at.Positions, float32(w.problem.Scale))
		}
		if w.products.DOutV {
			w.move.Load(w.vo[i*size:], w.item, w.at.Items(vo, 0, int(w.problem.ValueDim)), w.at.Positions, 1)
		}
		if !w.queries() {
			continue
		}
		lse := w.at.Items(core.LSE, 0, 1)
		kern.LoadLSE(w.numbers[i*w.numberRow:][:w.at.Positions], lse.P, lse.Step, lse.DType)
		w.deltas(w.numbers[(2+i)*w.numberRow:], 1, n0, n1+i, w.at.Index[2], w.at.Positions, w.at.ItemHead(0))
	}
}

// deltas computes delta = d_out . out - d_lse, the term that the gradients of all logits of a
// query share, for count queries from n2 on. step is the distance between elements of dst.
func (w *worker) deltas(dst []float32, step, n0, n1, n2, count, head int) {
	channels := int(w.problem.ValueDim)
	out, dOut := w.at.Source(core.Out, n0, n1, n2, head, channels), w.at.Source(core.DOut, n0, n1, n2, head, channels)
	if w.problem.DType == core.Float32 && channels%w.plan.lanes == 0 {
		w.plan.kernels.Block.DotRows(unsafe.Pointer(&dst[0]), out.P.Pointer(), dOut.P.Pointer(), count, channels/w.plan.lanes, step*kern.Float32Bytes, out.Step, dOut.Step)
	} else {
		for i := range count {
			dst[i*step] = w.move.Dot(out, dOut)
			out.P, dOut.P = out.P.Add(out.Step), dOut.P.Add(dOut.Step)
		}
	}
	if w.at.Run.Given(core.DLSE) {
		dLSE := w.at.Source(core.DLSE, n0, n1, n2, head, 1)
		for i := range count {
			dst[i*step] -= *(*float32)(dLSE.P.Add(i * dLSE.Step).Pointer())
		}
	}
}

// storeItems stores the results of the rows of items.
func (w *worker) storeItems(n0, n1, rows int) {
	w.factors = append(w.factors[:0], float32(w.problem.Scale), 1)
	scale, one := w.factors[:1], w.factors[1:]
	size := w.numberRow * w.item
	for i := range rows {
		w.at.Index[0], w.at.Index[1] = n0, n1+i
		at := w.reach.at + i*size
		switch w.kind {
		case walk.AttnOut:
			w.storeLSE(i)
			w.storeRow(core.Out, w.sumVO[at:], int(w.problem.ValueDim), w.numbers[(2+i)*w.numberRow:], 1)
		case walk.AttnQuery, walk.AttnGradients:
			if w.products.SumQK {
				w.storeRow(core.DQuery, w.sumQK[at:], int(w.problem.HeadDim), scale, 0)
			}
		default:
			if w.products.SumQK {
				w.storeRow(core.DKey, w.sumQK[at:], int(w.problem.HeadDim), scale, 0)
			}
			if w.products.SumVO {
				w.storeRow(core.DValue, w.sumVO[at:], int(w.problem.ValueDim), one, 0)
			}
		}
	}
}

func (w *worker) storeRow(role core.Role, sums []float32, channels int, factors []float32, step int) {
	if !w.at.Run.Given(role) {
		return
	}
	to := w.at.Items(role, 0, channels)
	if w.at.Adds() {
		w.move.Add(to, sums, w.item, w.at.Positions, factors, step)
		return
	}
	w.move.Store(to, sums, w.item, w.at.Positions, factors, step)
}

func (w *worker) storeLSE(i int) {
	if !w.at.Run.Given(core.LSE) {
		return
	}
	lse := w.at.Items(core.LSE, 0, 1)
	kern.Store(lse.P, lse.Step, lse.DType, w.numbers[i*w.numberRow:][:w.at.Positions], 1)
}
