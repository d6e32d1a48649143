// SPDX-License-Identifier: MIT

package metal

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// allowed is the largest permitted error of a kernel, relative to the largest value
// or to 1, whichever is larger. It is ten times what the tests of the kernels allow,
// since a GPU's own exp2 and rsqrt may be slightly less accurate. A miscompiled
// kernel exceeds it.
var allowed = map[core.DType]float64{core.Float32: 2e-4, core.Float16: 1e-2, core.BFloat16: 6e-2}

// experiment is a small problem with its inputs, the reference's results and the
// kernels' results.
type experiment struct {
	problem *core.Problem
	sizes   []int64
	inputs  map[core.Role]*numbers
	want    map[core.Role]*numbers
	found   map[core.Role]*numbers
}

// numbers is a tensor with dense strides and its own memory.
type numbers struct {
	dtype   core.DType
	memory  []byte
	first   int // byte offset of the first element
	count   int64
	strides [6]int64
}

// newNumbers fills the elements with NaN. The first element is off elements after a
// multiple of 64 bytes.
func newNumbers(p *core.Problem, role core.Role, off int) *numbers {
	n := &numbers{dtype: p.DTypeOf(role), count: 1}
	shape := p.Shape(role)
	for i := len(shape) - 1; i >= 0; i-- {
		n.strides[i] = n.count
		n.count *= shape[i]
	}
	const multiple = 64
	n.memory = make([]byte, n.count*n.dtype.Size()+2*multiple+int64(off)*n.dtype.Size())
	start := int(uintptr(unsafe.Pointer(&n.memory[0])) % multiple)
	n.first = (multiple-start)%multiple + off*int(n.dtype.Size())
	for i := range n.memory {
		n.memory[i] = 0xff
	}
	return n
}

// tensor returns a tensor that is valid while n is reachable.
func (n *numbers) tensor() core.Tensor {
	return core.Tensor{
		Data: core.AddressOf(unsafe.Pointer(&n.memory[0])), Offset: int64(n.first), Strides: n.strides,
	}
}

func (n *numbers) element(i int64) []byte {
	size := n.dtype.Size()
	return n.memory[int64(n.first)+i*size:][:size]
}

func (n *numbers) set(i int64, v float32) {
	switch n.dtype {
	case core.Float16:
		binary.NativeEndian.PutUint16(n.element(i), core.Float32ToFloat16(v))
	case core.BFloat16:
		binary.NativeEndian.PutUint16(n.element(i), core.Float32ToBFloat16(v))
	default:
		binary.NativeEndian.PutUint32(n.element(i), math.Float32bits(v))
	}
}

func (n *numbers) get(i int64) float64 {
	switch n.dtype {
	case core.Float16:
		return float64(core.Float16ToFloat32(binary.NativeEndian.Uint16(n.element(i))))
	case core.BFloat16:
		return float64(core.BFloat16ToFloat32(binary.NativeEndian.Uint16(n.element(i))))
	default:
		return float64(math.Float32frombits(binary.NativeEndian.Uint32(n.element(i))))
	}
}

// newExperiment makes random inputs for a problem, with the alignment of a layout.
func newExperiment(p *core.Problem, l layout) *experiment {
	off := 0
	if l.vec < 8 {
		off = l.vec
	}
	e := &experiment{
		problem: p, inputs: map[core.Role]*numbers{}, want: map[core.Role]*numbers{}, found: map[core.Role]*numbers{},
	}
	random := rand.New(rand.NewPCG(1, uint64(p.Op)))
	for role := range core.NumRoles {
		if p.Reads(role) {
			n := newNumbers(p, role, off)
			for i := range n.count {
				n.set(i, float32(random.NormFloat64()))
			}
			e.inputs[role] = n
		}
		if p.Writes(role) {
			e.want[role], e.found[role] = newNumbers(p, role, off), newNumbers(p, role, off)
		}
	}
	for sample := range p.Batch {
		for i := range p.Rank {
			a := &p.Axes[3-p.Rank+i]
			e.sizes = append(e.sizes, a.Length-sample%2*a.Dilation)
		}
	}
	return e
}

// run computes the problem with the reference and with the kernels.
func (e *experiment) run(reference core.Backend, kernels core.Runner) error {
	if e.problem.Op == core.AttnBackward {
		forward := *e.problem
		forward.Op = core.AttnForward
		if err := e.compute(reference, &forward, map[core.Role]*numbers{
			core.Out: e.inputs[core.Out], core.LSE: e.inputs[core.LSE],
		}); err != nil {
			return err
		}
	}
	if err := e.compute(reference, e.problem, e.want); err != nil {
		return err
	}
	return kernels.Run(e.buffers(e.found))
}

func (e *experiment) compute(reference core.Backend, p *core.Problem, outputs map[core.Role]*numbers) error {
	r, err := reference.Prepare(p)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(e)
	return r.Run(e.buffers(outputs))
}

func (e *experiment) buffers(outputs map[core.Role]*numbers) *core.Buffers {
	b := &core.Buffers{Threads: 1}
	if e.problem.Ragged {
		b.Sizes = e.sizes
	}
	for role, n := range e.inputs {
		b.Tensors[role] = n.tensor()
	}
	for role, n := range outputs {
		b.Tensors[role] = n.tensor()
	}
	return b
}

// difference describes the first wrong result of the kernels, or returns "". Elements
// that the reference leaves unwritten are not compared.
func (e *experiment) difference() string {
	defer runtime.KeepAlive(e)
	limit := allowed[e.problem.DType]
	for role := range core.NumRoles {
		want, found := e.want[role], e.found[role]
		if want == nil {
			continue
		}
		largest, worst := 1.0, 0.0
		for i := range want.count {
			w, f := want.get(i), found.get(i)
			if math.IsNaN(w) || w == f {
				continue
			}
			if worst = max(worst, math.Abs(w-f)); math.IsNaN(worst) || math.IsInf(worst, 0) {
				largest = 1
				break
			}
			largest = max(largest, math.Abs(w))
		}
		if !(worst <= limit*largest) {
			return fmt.Sprintf("%v differs from the reference by %.2g (want at most %.2g)", role, worst, limit*largest)
		}
	}
	return ""
}
