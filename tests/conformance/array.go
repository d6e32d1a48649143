// SPDX-License-Identifier: MIT

package conformance

import (
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// unwritten is what all memory is filled with first. It is NaN in every element type,
// and so serves as guard word, uninitialized output and forbidden input.
const unwritten = 0xff

// array is a tensor of one role with the memory around it.
type array struct {
	role    core.Role
	dtype   core.DType
	rank    int      // number of dimensions of the role
	shape   [6]int64 // 1 for dimensions that it lacks
	strides [6]int64 // elements
	first   int64    // element in memory of index 0
	memory  []byte
}

// newArray leaves room before and after the tensor, except where unmapped pages are to
// be.
func newArray(p *core.Problem, role core.Role, l layout) *array {
	a := &array{role: role, dtype: p.DTypeOf(role), shape: [6]int64{1, 1, 1, 1, 1, 1}}
	a.rank = copy(a.shape[:], p.Shape(role))
	const margin = 8
	elements := l.place(a, p.Reads(role))
	if edges.use {
		a.memory = atEdge(int(elements * a.dtype.Size()))
		a.wipe(a.memory)
		return a
	}
	a.first += margin
	words := make([]uint64, ((elements+2*margin)*a.dtype.Size()+7)/8)
	a.memory = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
	a.wipe(a.memory)
	return a
}

func (a *array) wipe(bytes []byte) {
	for i := range bytes {
		bytes[i] = unwritten
	}
}

func (a *array) element(i [6]int64) []byte {
	at := a.first
	for dim, n := range i {
		at += n * a.strides[dim]
	}
	size := a.dtype.Size()
	return a.memory[at*size:][:size]
}

func (a *array) get(i [6]int64) float64 {
	e := a.element(i)
	switch a.dtype {
	case core.Float16:
		return float64(core.Float16ToFloat32(binary.NativeEndian.Uint16(e)))
	case core.BFloat16:
		return float64(core.BFloat16ToFloat32(binary.NativeEndian.Uint16(e)))
	case core.Float64:
		return math.Float64frombits(binary.NativeEndian.Uint64(e))
	default:
		return float64(math.Float32frombits(binary.NativeEndian.Uint32(e)))
	}
}

func (a *array) set(i [6]int64, v float64) {
	e := a.element(i)
	switch a.dtype {
	case core.Float16:
		binary.NativeEndian.PutUint16(e, core.Float32ToFloat16(float32(v)))
	case core.BFloat16:
		binary.NativeEndian.PutUint16(e, core.Float32ToBFloat16(float32(v)))
	case core.Float64:
		binary.NativeEndian.PutUint64(e, math.Float64bits(v))
	default:
		binary.NativeEndian.PutUint32(e, math.Float32bits(float32(v)))
	}
}

// each calls f with every index.
func (a *array) each(f func(i [6]int64)) {
	for _, n := range a.shape {
		if n == 0 {
			return
		}
	}
	var i [6]int64
	for {
		f(i)
		dim := len(i) - 1
		for ; dim >= 0; dim-- {
			if i[dim]++; i[dim] < a.shape[dim] {
				break
			}
			i[dim] = 0
		}
		if dim < 0 {
			return
		}
	}
}

// hasAxes reports whether dimensions 1 to 3 are the axes.
func (a *array) hasAxes() bool {
	switch a.role {
	case core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
		return false
	default:
		return true
	}
}

// tensor returns what a caller passes, with strides for the problem's rank.
func (a *array) tensor(rank int) core.Tensor {
	t := core.Tensor{
		Data:    core.AddressOf(unsafe.Pointer(unsafe.SliceData(a.memory))),
		Offset:  a.first * a.dtype.Size(),
		Strides: a.strides,
	}
	if a.hasAxes() {
		copy(t.Strides[1:], a.strides[4-rank:])
	}
	return t
}

// layout is a way to arrange tensors in memory.
type layout struct {
	name       string
	headsFirst bool
	gaps       int64 // elements between rows, and rows between planes
	reversed   bool  // the last axis and the batch have negative strides
	broadcast  bool  // all heads of an input share memory
}

var layouts = []layout{
	{name: "heads-last"},
	{name: "heads-first", headsFirst: true},
	{name: "gaps", gaps: 3},
	{name: "reversed", gaps: 1, reversed: true},
	{name: "broadcast", headsFirst: true, broadcast: true},
}

// place sets strides and first of a. It returns the number of elements from the
// lowest to the highest address.
func (l *layout) place(a *array, input bool) int64 {
	order := []int{0, 1, 2, 3, 4, 5}
	heads := 4
	switch a.role {
	case core.RPB, core.DRPB:
		heads = 0
	case core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
		heads = 2
		if l.headsFirst {
			order = []int{0, 2, 1, 3, 4, 5}
		}
	default:
		if l.headsFirst {
			order = []int{0, 4, 1, 2, 3, 5}
		}
	}
	stride := int64(1)
	for _, dim := range slices.Backward(order[:a.rank]) {
		a.strides[dim] = stride
		if l.broadcast && input && dim == heads {
			a.strides[dim] = 0
			continue
		}
		stride *= a.shape[dim] + l.gaps
	}
	if l.reversed {
		for _, dim := range []int{0, 3} {
			if dim == 3 && !a.hasAxes() {
				continue
			}
			a.first += max(a.shape[dim]-1, 0) * a.strides[dim]
			a.strides[dim] = -a.strides[dim]
		}
	}
	return stride
}
