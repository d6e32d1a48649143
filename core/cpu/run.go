// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
)

// serialWork is the number of multiply-adds up to which a second goroutine costs
// more than it saves.
const serialWork = 1 << 17

// runner is a prepared problem.
type runner[T number] struct {
	p      *core.Problem
	walks  []*walk
	all    *walk // for all gradients at once, or nil
	sparse bool  // some positions of outputs belong to no item
	large  []large
	runs   sync.Pool
}

// Scratch memory is shared by all plans, so that many plans hold little of it.
var tiles32, tiles64 sync.Pool

func borrowTile[T number]() *tile[T] {
	var x T
	pool := &tiles32
	if _, double := any(x).(float64); double {
		pool = &tiles64
	}
	if t, ok := pool.Get().(*tile[T]); ok {
		return t
	}
	return new(tile[T])
}

func (t *tile[T]) giveBack() {
	t.run, t.stage, t.strip.call, t.stencil.call = nil, nil, stripCall{}, stencilCall{}
	switch any(t).(type) {
	case *tile[float64]:
		tiles64.Put(t)
	default:
		tiles32.Put(t)
	}
}

func elementSize[T number]() int {
	var x T
	return int(unsafe.Sizeof(x))
}

func newRunner[T number](p *core.Problem) core.Runner {
	r := &runner[T]{p: p, sparse: p.Ragged, large: largeOutputs(p)}
	passes := passesOf[p.Op]
	switch {
	case striped(p):
		r.walks, passes = append(r.walks, newStripWalk(p)), nil
	case stencilled(p):
		r.walks, passes = append(r.walks, newStencilWalk(p)), nil
	}
	for _, q := range passes {
		if !q.tokens || p.Extra > 0 {
			r.walks = append(r.walks, newWalk(p, q, elementSize[T]()))
		}
	}
	r.all = newGradientWalk(p, elementSize[T]())
	for a := range p.Axes {
		r.sparse = r.sparse || p.Axes[a].QueryStep > 1
	}
	r.runs.New = func() any { return &run[T]{runner: r} }
	return r
}

func (r *runner[T]) Variant() string {
	w, name := r.walks[0], "portable"
	if r.all != nil {
		w = r.all
	}
	if simd != nil && elementSize[T]() == float32Bytes {
		name = simd.name
	}
	switch {
	case w.stencil:
		return fmt.Sprintf(name+", stencils, strips of %d", w.tile)
	case w.strip:
		return fmt.Sprintf(name+", strips of %d", w.tile)
	}
	if b := &w.blocking; b.rows > 0 {
		if r.all != nil {
			name += ", all gradients"
		}
		return fmt.Sprintf("%s, blocks of 2 x 2, tile %d, panel %d x %d rows in groups of %d x %d lanes", name, w.tile, b.planes, b.ring, b.rows, b.width)
	}
	return fmt.Sprintf(name+", tile %d, panel %d x %d x %d lanes", w.tile, w.depth, w.ring, w.width)
}

// ScratchBytes counts on one goroutine a processor.
func (r *runner[T]) ScratchBytes() int64 {
	var most int
	for _, w := range append([]*walk{r.all}, r.walks...) {
		if w == nil {
			continue
		}
		size := w.scratch(r.p, elementSize[T]()) * runtime.GOMAXPROCS(0)
		if w.pass.outputs[len(w.pass.outputs)-1] == core.DRPB && r.p.RPB {
			size += w.bins * int(r.p.Heads) * biasSize(r.p) * elementSize[T]()
		}
		most = max(most, size)
	}
	return int64(most)
}

// run is one run of a problem.
type run[T number] struct {
	*runner[T]
	tensors [core.NumRoles]tensor
	sizes   []int64
	threads int
	stages  []stage // of the job in hand
	job     sched.Job
	partial []T           // d_rpb by part: [part][head][entry]
	fresh   []sched.Piece // of outputs, without pages yet

	victims sched.Victims[rowsOf]
}

// stage is the tasks of a job that are alike: of a walk, or without one of other work.
// Stages of one job do not wait for one another.
type stage struct {
	*walk
	parts   parts // that the given outputs need
	binning bool  // the walk sums up d_rpb
	other   otherWork
	count   int64 // of tasks
	colour  int   // of tasks of a coloured walk: 0 or 1
}

// otherWork is what tasks without a walk do.
type otherWork uint8

const (
	zeroing otherWork = iota
	prefaulting
)

func (r *runner[T]) Run(b *core.Buffers) error {
	u := r.runs.Get().(*run[T])
	defer u.release()
	for role := range core.NumRoles {
		dtype := r.p.DType
		if role == core.LSE || role == core.DLSE {
			dtype = dtype.Accumulator()
		}
		u.tensors[role] = newTensor(b.Tensors[role], dtype)
	}
	u.sizes, u.threads = b.Sizes, b.Threads
	u.prefault()
	if r.sparse {
		u.zero()
	}
	walks := r.walks
	if r.all != nil && u.wantsAll() {
		if r.all.coloured {
			u.runColours()
			return nil
		}
		walks = []*walk{r.all}
	}
	var binning *walk
	for _, w := range walks {
		if s := u.stage(w); s.count > 0 {
			u.stages = append(u.stages, s)
			if s.binning {
				binning = w
			}
		}
	}
	u.runStages()
	if binning != nil {
		u.storeBins(binning)
	}
	return nil
}

func (u *run[T]) release() {
	clear(u.tensors[:])
	clear(u.fresh)
	clear(u.stages)
	u.victims.Clear()
	u.sizes, u.stages = nil, u.stages[:0]
	u.runs.Put(u)
}

// stage returns the tasks of a walk, none if no given output needs them.
func (u *run[T]) stage(w *walk) stage {
	s := stage{walk: w, parts: w.parts}
	first, second := false, false
	for _, role := range w.pass.outputs {
		if !u.tensors[role].given() {
			continue
		}
		switch role {
		case core.DQuery, core.DKey, core.DExtraKey:
			first = true
		default:
			second = true
		}
	}
	s.parts.sumFirst = s.parts.sumFirst && first
	if w.pass.kind == attnKey {
		s.parts.sumSecond = second
		s.parts.scoreSecond = first
	}
	s.binning = (w.pass.kind == attnQuery || w.pass.kind == qkQuery) && u.tensors[core.DRPB].given()
	switch {
	case !first && !second:
	case s.binning:
		s.count = int64(w.counts[5] * w.bins)
		u.partial = grow(u.partial, w.bins*int(u.p.Heads)*biasSize(u.p))
		clear(u.partial)
	default:
		s.count = w.tasks
	}
	return s
}

// runStages does the tasks of all stages as one job.
func (u *run[T]) runStages() {
	var tasks int64
	for i := range u.stages {
		tasks += u.stages[i].count
	}
	if tasks > 0 {
		u.job.Run(tasks, u.limit(), u)
	}
	u.stages = u.stages[:0]
}

// limit is the number of goroutines worth using.
func (u *run[T]) limit() int {
	if multiplyAdds(u.p) < serialWork {
		return 1
	}
	return u.threads
}

// multiplyAdds is the number of them in a forward pass.
func multiplyAdds(p *core.Problem) float64 {
	return float64(p.Batch*p.Heads) * float64(p.Outputs()) * float64(p.Slots()) * float64(p.HeadDim+p.ValueDim)
}

// biasSize is the number of bias entries of a head.
func biasSize(p *core.Problem) int {
	n := 1
	for a := range p.Axes {
		n *= int(2*p.Axes[a].Kernel - 1)
	}
	return n
}

// storeBins adds up the parts of d_rpb in their order.
func (u *run[T]) storeBins(w *walk) {
	size, x := biasSize(u.p), &u.tensors[core.DRPB]
	heads := int(u.p.Heads)
	n1, n2 := int(2*u.p.Axes[1].Kernel-1), int(2*u.p.Axes[2].Kernel-1)
	for head := range heads {
		sum := u.partial[head*size : (head+1)*size]
		for part := 1; part < w.bins; part++ {
			for i, v := range u.partial[(part*heads+head)*size:][:size] {
				sum[i] += v
			}
		}
		for i := 0; i < size; i += n2 {
			row := i / n2
			store(x.row(head, row/n1, row%n1, 0, 0), x.strides[3], x.dtype, sum[i:i+n2], 1)
		}
	}
}

func (u *run[T]) Work(j *sched.Job) {
	t := borrowTile[T]()
	t.run = u
	u.victims.Add(&t.left)
	for n, ok := j.Take(); ok; n, ok = j.Take() {
		s := &u.stages[0]
		for i := 1; n >= s.count; i++ {
			n -= s.count
			s = &u.stages[i]
		}
		switch {
		case s.walk == nil && s.other == zeroing:
			u.zeroSample(int(n))
		case s.walk == nil:
			_ = sched.Prefault(u.fresh[n]) // then they come when they are written
		default:
			if t.stage != s {
				t.begin(u, s)
			}
			if s.binning {
				t.bin(int(n))
			} else {
				t.task(n)
			}
		}
	}
	t.help()
	u.victims.Remove(&t.left)
	t.giveBack()
}
