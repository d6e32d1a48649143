// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// Forward attention whose windows are several rows of few keys in all is walked in
// strips too, with kernels that take a query's whole window: they read the rows of
// channels of its keys where the tensors have them, at a table of offsets.

// mostStencil is the keys of a window up to which that pays.
const mostStencil = 32

// stencilCall holds the arguments of the stencil kernels, with steps and offsets in
// bytes. Its layout is known to the generator.
type stencilCall struct {
	dst, vectors, rows, starts, offsets, factors core.Address
	items, count, parts                          int
	dstStep, vectorStep, factorStep              int // to the next item
}

// stencilKernels are float32 kernels. What each computes is written at its Go
// prototype.
type stencilKernels struct{ dots, sums func(call unsafe.Pointer) }

// stencilled reports whether a problem is walked so.
func stencilled(p *core.Problem) bool {
	if simd == nil || simd.stencil == nil || p.Op != core.AttnForward || p.DType != core.Float32 || p.RPB || p.Extra > 0 {
		return false
	}
	return stencilKeys(p) <= mostStencil && stencilParts(p.HeadDim) > 0 && stencilParts(p.ValueDim) > 0
}

func stencilKeys(p *core.Problem) int64 {
	return p.Axes[0].Kernel * p.Axes[1].Kernel * p.Axes[2].Kernel
}

// stencilParts is the number of vectors of channels of a row, or 0 if there is no
// kernel for it.
func stencilParts(channels int64) int {
	switch channels {
	case 16, 32, 64, 128:
		return int(channels) / blockLanes
	}
	return 0
}

// newStencilWalk is the only walk of a problem with stencils. All heads of a row are
// taken before the next row, as they are neighbours in memory.
func newStencilWalk(p *core.Problem) *walk {
	w := &walk{pass: passesOf[p.Op][0], group: int(p.Group()), member: 1, strip: true, stencil: true}
	w.parts = partsOf[w.pass.kind]
	if p.Axes[0].Kernel == 1 { // rows of the next plane are too many to ask for
		w.ring, w.width = int(p.Axes[1].Kernel), int(p.Axes[2].GroupLength(0))
	}
	w.chooseStrip(p, [3]int{int(p.Axes[0].Kernel), int(p.Axes[1].Kernel), int(p.Axes[2].Kernel)})
	return w
}

// stencil is what a tile needs to work on stencils.
type stencil struct {
	call         stencilCall
	runs         []itemRun
	keys, values stencilTable
	factor       float32
	first, end   int // query heads
}

// itemRun is neighbouring items whose windows have the same number of keys along axis 2.
type itemRun struct{ first, count, keys int }

// stencilTable is where the keys of windows are, in bytes.
type stencilTable struct {
	shape, steps [3]int
	offsets      []int // from the first key of the window, up to a multiple of 4 keys: the last one again
	starts       []int // [item] from the first key of the tile to the first of the item's window
}

// planStencil sets the positions of the tile, n <= number < n+count.
func (t *tile[T]) planStencil(n, count int) {
	t.plan(n, count)
	s := &t.stencil
	s.runs = s.runs[:0]
	for i := range count {
		keys, last := t.hi[i]-t.lo[i], len(s.runs)-1
		if last < 0 || s.runs[last].keys != keys {
			s.runs = append(s.runs, itemRun{first: i, keys: keys})
			last++
		}
		s.runs[last].count++
	}
	t.startStencil(&s.keys, core.Key)
	t.startStencil(&s.values, core.Value)
}

func (t *tile[T]) startStencil(x *stencilTable, role core.Role) {
	l, strides := &t.lines, &t.tensors[role].strides
	x.shape = [3]int{}
	x.steps = [3]int{l[0].key.step * strides[1], l[1].key.step * strides[2], l[2].key.step * strides[3]}
	x.starts = grow(x.starts, t.positions)
	for i, lo := range t.lo[:t.positions] {
		x.starts[i] = (lo - t.low) * x.steps[2]
	}
}

// lay makes the table of windows of a shape.
func (x *stencilTable) lay(shape [3]int) {
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

// stencilRow computes the tile at one place of the slow axes for all heads in hand.
func (t *tile[T]) stencilRow() {
	for head := t.stencil.first; head < t.stencil.end; head++ {
		t.kvHead, t.member = head/t.group, head%t.group
		t.computeStencil()
	}
}

// computeStencil computes the tile at one place of the slow axes for one query head.
func (t *tile[T]) computeStencil() {
	lo0, hi0, _ := t.span(0, t.place[0])
	lo1, hi1, _ := t.span(1, t.place[1])
	head, n2, count := t.itemHead(0), t.place[2], padded(t.positions)
	pitch := (int(stencilKeys(t.p)) + blockLanes - 1) &^ (blockLanes - 1)
	t.scores = grow(t.scores, t.positions*pitch)
	t.maximum, t.total, t.lse = grow(t.maximum, count), grow(t.total, count), grow(t.lse, count)
	query, out := t.rows(core.Query, n2, head, int(t.p.HeadDim)), t.rows(core.Out, n2, head, int(t.p.ValueDim))
	s := &t.stencil
	s.factor = float32(t.p.Scale)
	shape := [3]int{hi0 - lo0, hi1 - lo1, 0}
	for _, r := range s.runs {
		shape[2] = r.keys
		s.keys.lay(shape)
		scores := &t.scores[r.first*pitch]
		s.call = stencilCall{
			dst: addressOf(scores), vectors: query.p.Add(r.first * query.step), rows: t.address(core.Key, lo0, lo1, t.low, t.kvHead),
			starts: addressOf(&s.keys.starts[r.first]), offsets: addressOf(&s.keys.offsets[0]), factors: addressOf(&s.factor),
			items: r.count, count: len(s.keys.offsets), parts: int(t.p.HeadDim) / blockLanes,
			dstStep: pitch * float32Bytes, vectorStep: query.step,
		}
		t.simd.stencil.dots(unsafe.Pointer(&s.call))
		n := shape[0] * shape[1] * shape[2]
		t.simd.softmax(unsafe.Pointer(scores), t.maskKeys(n), unsafe.Pointer(&t.maximum[r.first]), unsafe.Pointer(&t.total[r.first]), r.count, 1, padded(n)/8, pitch*float32Bytes, 0)
	}
	t.simd.finish(unsafe.Pointer(&t.lse[0]), unsafe.Pointer(&t.maximum[0]), unsafe.Pointer(&t.total[0]), count/8)
	for _, r := range s.runs {
		shape[2] = r.keys
		s.values.lay(shape)
		s.call = stencilCall{
			dst: out.p.Add(r.first * out.step), vectors: addressOf(&t.scores[r.first*pitch]), rows: t.address(core.Value, lo0, lo1, t.low, t.kvHead),
			starts: addressOf(&s.values.starts[r.first]), offsets: addressOf(&s.values.offsets[0]), factors: addressOf(&t.total[r.first]),
			items: r.count, count: shape[0] * shape[1] * shape[2], parts: int(t.p.ValueDim) / blockLanes,
			dstStep: out.step, vectorStep: pitch * float32Bytes, factorStep: float32Bytes,
		}
		t.simd.stencil.sums(unsafe.Pointer(&s.call))
	}
	if t.tensors[core.LSE].given() {
		lse := t.rows(core.LSE, n2, head, 1)
		store(lse.p, lse.step, t.p.DType.Accumulator(), t.lse[:t.positions], 1)
	}
}
