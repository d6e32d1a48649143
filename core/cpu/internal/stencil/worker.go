// SPDX-License-Identifier: MIT

package stencil

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// worker is the state of one goroutine.
type worker struct {
	*scratch.Memory
	plan         *plan
	problem      *core.Problem
	at           walk.Cursor
	move         kern.Rows[float32]
	strips       kern.Strips[float32]
	call         abi.Stencil
	runs         []itemRun
	keys, values table
	factor       float32

	weights       []float32 // [item][key of the window]
	max, sum, lse []float32 // [item]
}

// itemRun is a run of neighboring items whose windows have the same number of keys along axis 2.
type itemRun struct{ first, count, keys int }

// Begin implements engine.Worker.
func (w *worker) Begin(of engine.Plan, run *walk.Run, s *walk.Stage, rows *sched.Stealable[walk.Rows]) {
	w.plan, w.problem = of.(*plan), run.Problem
	w.at.Begin(run, s, rows, false)
	w.move.Set, w.strips.Set = w.plan.kernels, w.plan.kernels
	w.factor = float32(w.problem.Scale)
}

// Task implements engine.Worker.
func (w *worker) Task(n int64) { w.at.Task(n, w) }

// Rows implements engine.Worker.
func (w *worker) Rows(r *walk.Rows, from, end int) { w.at.Stolen(r, from, end, w) }

// Release implements engine.Worker.
func (w *worker) Release() {
	w.at.End()
	w.plan, w.problem, w.call = nil, nil, abi.Stencil{}
	workers.Put(w)
}

// Plan implements walk.Tiles.
func (w *worker) Plan(n, count int) {
	w.at.SetTile(n, count)
	w.runs = w.runs[:0]
	for i := range count {
		keys, last := w.at.Hi[i]-w.at.Lo[i], len(w.runs)-1
		if last < 0 || w.runs[last].keys != keys {
			w.runs = append(w.runs, itemRun{first: i, keys: keys})
			last++
		}
		w.runs[last].count++
	}
	w.keys.begin(&w.at, core.Key)
	w.values.begin(&w.at, core.Value)
}

// Column implements walk.Tiles.
func (w *worker) Column(from, to [3]int) {
	for n0 := from[0]; n0 < to[0]; n0++ {
		w.at.Publish(n0, from[1], to[1])
		for n1, end, ok := w.at.NextRows(1); ok; n1, end, ok = w.at.NextRows(1) {
			if n1+1 < end {
				w.prefetch(n0, n1+1)
			}
			w.at.Index[0], w.at.Index[1] = n0, n1
			for head := w.at.FirstHead; head < w.at.EndHead; head++ {
				w.at.KVHead, w.at.Member = head/w.plan.walk.Group, head%w.plan.walk.Group
				w.compute()
			}
		}
	}
}

// prefetch prefetches what row n1 of the tile, the next one, reads first: its items and the
// last row of keys of its windows.
func (w *worker) prefetch(n0, n1 int) {
	if !w.move.Prefetches() {
		return
	}
	d, dv, n2, head := int(w.problem.HeadDim), int(w.problem.ValueDim), w.at.Index[2], w.at.QueryHead(0)
	w.move.Prefetch(w.at.Source(core.Query, n0, n1, n2, head, d), w.at.Positions)
	w.move.Prefetch(w.at.Source(core.Out, n0, n1, n2, head, dv), w.at.Positions)
	lo0, hi0, _ := w.at.Span(0, n0)
	lo1, hi1, _ := w.at.Span(1, n1)
	if keys := w.at.High - w.at.Low; lo1 < hi1 && keys > 0 && w.plan.prefetchMet {
		for n := lo0; n < hi0; n++ {
			w.move.Prefetch(w.at.Source(core.Key, n, hi1-1, w.at.Low, w.at.KVHead, d), keys)
			w.move.Prefetch(w.at.Source(core.Value, n, hi1-1, w.at.Low, w.at.KVHead, dv), keys)
		}
	}
}

// compute computes the tile at one position of the slow axes for one query head.
func (w *worker) compute() {
	lo0, hi0, _ := w.at.Span(0, w.at.Index[0])
	lo1, hi1, _ := w.at.Span(1, w.at.Index[1])
	k, count, pitch := w.plan.kernels.Stencil, kern.Padded(w.at.Positions), w.plan.pitch()
	scratch.Grow(w.Memory, &w.weights, w.at.Positions*pitch)
	scratch.Grow(w.Memory, &w.max, count)
	scratch.Grow(w.Memory, &w.sum, count)
	scratch.Grow(w.Memory, &w.lse, count)
	query, out := w.at.Items(core.Query, 0, int(w.problem.HeadDim)), w.at.Items(core.Out, 0, int(w.problem.ValueDim))
	shape := [3]int{hi0 - lo0, hi1 - lo1, 0}
	for _, r := range w.runs {
		shape[2] = r.keys
		w.keys.lay(shape)
		w.call = abi.Stencil{
			Dst: kern.AddressOf(&w.weights[r.first*pitch]), Vectors: query.P.Add(r.first * query.Step),
			Rows:   w.at.Address(core.Key, lo0, lo1, w.at.Low, w.at.KVHead),
			Starts: kern.AddressOf(&w.keys.starts[r.first]), Offsets: kern.AddressOf(&w.keys.offsets[0]), Factors: kern.AddressOf(&w.factor),
			Items: r.count, Count: len(w.keys.offsets), Vectorful: int(w.problem.HeadDim) / k.Lanes,
			DstStep: pitch * kern.Float32Bytes, VectorStep: query.Step,
		}
		k.Dots(&w.call)
		w.strips.Softmax(w.weights[r.first*pitch:], w.max[r.first:], w.sum[r.first:], r.count, shape[0]*shape[1]*shape[2], pitch)
	}
	w.strips.LogSumExp(w.lse, w.max, w.sum, w.at.Positions)
	for _, r := range w.runs {
		shape[2] = r.keys
		w.values.lay(shape)
		w.call = abi.Stencil{
			Dst: out.P.Add(r.first * out.Step), Vectors: kern.AddressOf(&w.weights[r.first*pitch]),
			Rows:   w.at.Address(core.Value, lo0, lo1, w.at.Low, w.at.KVHead),
			Starts: kern.AddressOf(&w.values.starts[r.first]), Offsets: kern.AddressOf(&w.values.offsets[0]), Factors: kern.AddressOf(&w.sum[r.first]),
			Items: r.count, Count: shape[0] * shape[1] * shape[2], Vectorful: int(w.problem.ValueDim) / k.Lanes,
			DstStep: out.Step, VectorStep: pitch * kern.Float32Bytes, FactorStep: kern.Float32Bytes,
		}
		k.Sums(&w.call)
	}
	if w.at.Run.Given(core.LSE) {
		lse := w.at.Items(core.LSE, 0, 1)
		kern.Store(lse.P, lse.Step, lse.DType, w.lse[:w.at.Positions], 1)
	}
}

// table locates the keys of windows. All numbers except shape are in bytes.
type table struct {
	shape, steps [3]int
	offsets      []int // [key] from the first key of the window; repeats the last key to fill a multiple of 4
	starts       []int // [item] from the first key of the tile to the first key of the item's window
}

// begin prepares the table for a tile.
func (x *table) begin(at *walk.Cursor, role core.Role) {
	l, strides := &at.Lines, &at.Run.Tensors[role].Strides
	x.shape = [3]int{}
	x.steps = [3]int{l[0].Key.Step * strides[1], l[1].Key.Step * strides[2], l[2].Key.Step * strides[3]}
	x.starts = kern.Grow(x.starts, at.Positions)
	for i, lo := range at.Lo[:at.Positions] {
		x.starts[i] = (lo - at.Low) * x.steps[2]
	}
}

// lay computes the offsets for windows of a shape.
func (x *table) lay(shape [3]int) {
	if x.shape == shape {
		return
	}
	x.shape, x.offsets = shape, x.offsets[:0]
	for i0 := range shape[0] {
		for i1 := range shape[1] {
			for i2 := range shape[2] {
				x.offsets = append(x.offsets, i0*x.steps[0]+i1*x.steps[1]+i2*x.steps[2])
			}
		}
	}
	for last := x.offsets[len(x.offsets)-1]; len(x.offsets)%4 != 0; {
		x.offsets = append(x.offsets, last)
	}
}
