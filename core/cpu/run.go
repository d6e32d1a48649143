// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// serialWork is the number of multiply-adds up to which a second goroutine costs
// more than it saves.
const serialWork = 1 << 17

// runner is a prepared problem.
type runner[T number] struct {
	p      *core.Problem
	walks  []*walk
	sparse bool // some positions of outputs belong to no item
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
	t.run, t.strip.call = nil, stripCall{}
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
	if striped(p) {
		r.walks, passes = append(r.walks, newStripWalk(p)), nil
	}
	for _, q := range passes {
		if !q.tokens || p.Extra > 0 {
			r.walks = append(r.walks, newWalk(p, q, elementSize[T]()))
		}
	}
	for a := range p.Axes {
		r.sparse = r.sparse || p.Axes[a].QueryStep > 1
	}
	r.runs.New = func() any { return &run[T]{runner: r} }
	return r
}

func (r *runner[T]) Variant() string {
	w, name := r.walks[0], "portable"
	if simd != nil && elementSize[T]() == float32Bytes {
		name = simd.name
	}
	if w.strip {
		return fmt.Sprintf(name+", strips of %d", w.tile)
	}
	if b := &w.blocking; b.rows > 0 {
		return fmt.Sprintf("%s, blocks of 2 x 2, tile %d, panel %d x %d rows in groups of %d x %d lanes", name, w.tile, b.planes, b.ring, b.rows, b.width)
	}
	return fmt.Sprintf(name+", tile %d, panel %d x %d x %d lanes", w.tile, w.depth, w.ring, w.width)
}

// ScratchBytes counts on one goroutine a processor.
func (r *runner[T]) ScratchBytes() int64 {
	var most int
	for _, w := range r.walks {
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
	*walk
	tensors [core.NumRoles]tensor
	sizes   []int64
	threads int
	parts   parts
	job     job
	partial []T // d_rpb by part: [part][head][entry]
	phase   phase
	fresh   []piece // of outputs, without pages yet
}

// phase says what the tasks of a run are.
type phase uint8

const (
	walking phase = iota
	zeroing
	freshening
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
	u.freshen()
	if r.sparse {
		u.zero()
	}
	for _, w := range r.walks {
		u.walk = w
		u.runWalk()
	}
	return nil
}

func (u *run[T]) release() {
	clear(u.tensors[:])
	u.sizes = nil
	u.runs.Put(u)
}

// choose drops the products that no given output needs; false if there is none
// left.
func (u *run[T]) choose() bool {
	u.parts = u.walk.parts
	first, second := false, false
	for _, role := range u.pass.outputs {
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
	u.parts.sumFirst = u.parts.sumFirst && first
	if u.pass.kind == attnKey {
		u.parts.sumSecond = second
		u.parts.scoreSecond = first
	}
	return first || second
}

func (u *run[T]) binning() bool {
	return (u.pass.kind == attnQuery || u.pass.kind == qkQuery) && u.tensors[core.DRPB].given()
}

func (u *run[T]) runWalk() {
	if !u.choose() || (u.tasks == 0 && !u.binning()) {
		return
	}
	tasks := u.tasks
	if u.binning() {
		tasks = int64(u.counts[5] * u.bins)
		u.partial = grow(u.partial, u.bins*int(u.p.Heads)*biasSize(u.p))
		clear(u.partial)
	}
	u.phase = walking
	u.job.run(tasks, u.limit(), u)
	if u.binning() {
		u.storeBins()
	}
}

// limit is the number of goroutines worth using.
func (u *run[T]) limit() int {
	p := u.p
	work := float64(p.Batch*p.Heads) * float64(p.Outputs()) * float64(p.Slots()) * float64(p.HeadDim+p.ValueDim)
	if work < serialWork {
		return 1
	}
	return u.threads
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
func (u *run[T]) storeBins() {
	size, x := biasSize(u.p), &u.tensors[core.DRPB]
	heads := int(u.p.Heads)
	n1, n2 := int(2*u.p.Axes[1].Kernel-1), int(2*u.p.Axes[2].Kernel-1)
	for head := range heads {
		sum := u.partial[head*size : (head+1)*size]
		for part := 1; part < u.bins; part++ {
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

func (u *run[T]) runTasks(j *job) {
	switch u.phase {
	case zeroing:
		for n, ok := j.take(); ok; n, ok = j.take() {
			u.zeroSample(int(n))
		}
		return
	case freshening:
		for n, ok := j.take(); ok; n, ok = j.take() {
			_ = populate(u.fresh[n]) // then they come when they are written
		}
		return
	}
	t := borrowTile[T]()
	t.begin(u)
	for n, ok := j.take(); ok; n, ok = j.take() {
		if u.binning() {
			t.bin(int(n))
			continue
		}
		t.task(n)
	}
	t.giveBack()
}
