// SPDX-License-Identifier: MIT

package ref

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// index is the index of an element, one number per dimension; unused dimensions are 0.
type index [6]int64

// tensor reads and writes elements of any type as float64. Its memory is the
// caller's and is used during one run only.
type tensor struct {
	data    core.Address // 0 if not given
	dtype   core.DType
	size    int64 // bytes per element
	strides [6]int64
}

func newTensor(p *core.Problem, b *core.Buffers, role core.Role) tensor {
	t := tensor{dtype: p.DTypeOf(role), strides: b.Tensors[role].Strides}
	t.size = t.dtype.Size()
	if b.Given(role) {
		t.data = b.Tensors[role].Data.Add(int(b.Tensors[role].Offset))
	}
	return t
}

func (t *tensor) address(i index) unsafe.Pointer {
	var elements int64
	for dim, n := range i {
		elements += n * t.strides[dim]
	}
	return t.data.Add(int(elements * t.size)).Pointer()
}

func (t *tensor) get(i index) float64 {
	a := t.address(i)
	switch t.dtype {
	case core.Float16:
		return float64(core.Float16ToFloat32(*(*uint16)(a)))
	case core.BFloat16:
		return float64(core.BFloat16ToFloat32(*(*uint16)(a)))
	case core.Float64:
		return *(*float64)(a)
	default:
		return float64(*(*float32)(a))
	}
}

func (t *tensor) set(i index, v float64) {
	a := t.address(i)
	switch t.dtype {
	case core.Float16:
		*(*uint16)(a) = core.Float32ToFloat16(float32(v))
	case core.BFloat16:
		*(*uint16)(a) = core.Float32ToBFloat16(float32(v))
	case core.Float64:
		*(*float64)(a) = v
	default:
		*(*float32)(a) = float32(v)
	}
}

// sum is a dense float64 array in which a gradient is accumulated.
type sum struct {
	shape  index // 1 for unused dimensions
	values []float64
}

func newSum(memory *scratch.Memory, shape []int64) *sum {
	s := &sum{shape: index{1, 1, 1, 1, 1, 1}}
	copy(s.shape[:], shape)
	elements := int64(1)
	for _, n := range shape {
		elements *= n
	}
	scratch.Grow(memory, &s.values, int(elements))
	clear(s.values)
	return s
}

// add adds v to an element. It does nothing if s is nil, a gradient that is not wanted.
func (s *sum) add(i index, v float64) {
	if s == nil {
		return
	}
	var place int64
	for dim, n := range i {
		place = place*s.shape[dim] + n
	}
	s.values[place] += v
}

// store writes all elements to t.
func (s *sum) store(t *tensor) {
	for place, v := range s.values {
		var i index
		rest := int64(place)
		for dim := len(i) - 1; dim >= 0; dim-- {
			i[dim] = rest % s.shape[dim]
			rest /= s.shape[dim]
		}
		t.set(i, v)
	}
}
