// SPDX-License-Identifier: MIT

package walk

import "github.com/natten-mps/natten-mps/core"

// Tensor is a core.Tensor with strides in bytes.
type Tensor struct {
	Base    core.Address
	Strides [6]int
	DType   core.DType
}

// NewTensor converts a tensor with elements of the given type.
func NewTensor(t core.Tensor, dtype core.DType) Tensor {
	if t.Data == 0 {
		return Tensor{}
	}
	out := Tensor{Base: t.Data.Add(int(t.Offset)), DType: dtype}
	for i, s := range t.Strides {
		out.Strides[i] = int(s) * int(dtype.Size())
	}
	return out
}

// Given reports whether the caller passed the tensor.
func (t *Tensor) Given() bool { return t.Base != 0 }

// Row is the address of the channels at one position and head.
func (t *Tensor) Row(sample, i0, i1, i2, head int) core.Address {
	s := &t.Strides
	return t.Base.Add(sample*s[0] + i0*s[1] + i1*s[2] + i2*s[3] + head*s[4])
}
