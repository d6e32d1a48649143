// SPDX-License-Identifier: MIT

package metal

import (
	"encoding/binary"
	"math"

	"github.com/natten-mps/natten-mps/core"
)

// Layout of NaParams in shaders/na_types.h. Sizes and offsets are in bytes.
const (
	maxTensors    = 12
	axisBytes     = 12 * 4
	flagsOffset   = 3*axisBytes + 11*4
	strideOffset  = 3*axisBytes + 18*4
	strideNumbers = 5 // per tensor: batch, three axes, heads
	paramsBytes   = strideOffset + maxTensors*strideNumbers*8
)

// Flags of NaParams.
const (
	flagRagged = 1 << iota
	flagLSE
	flagDLSE
	flagFirst
	flagSecond
	flagCausal
	flagZeroMask
	flagCells
	flagThird
)

// params is NaParams without the strides.
type params struct {
	axes   [3]core.Axis
	units  [3]int // lane groups along each axis; tiles in the "lanes" design
	tile   [3]int // log2 of the lane groups of a threadgroup along each axis
	heads  int    // size of the grid's z dimension per sample
	group  int
	extra  int
	slots  int
	batch  int
	flags  int
	splits int
	scale  float64
	dims   [4]int
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// encode returns the parameter block without strides.
func (p *params) encode() [paramsBytes]byte {
	var block [paramsBytes]byte
	at := 0
	put := func(values ...int) {
		for _, v := range values {
			binary.LittleEndian.PutUint32(block[at:], uint32(int32(v)))
			at += 4
		}
	}
	for i := range p.axes {
		a := &p.axes[i]
		put(int(a.Length), int(a.Outputs()), int(a.Kernel), int(a.Dilation), int(a.Stride), int(a.QueryStep),
			boolInt(a.Causal), boolInt(a.MaskFirst), int(a.QueryFirst), int(a.Queries()), int(a.KeyFirst), int(a.Keys()))
	}
	put(p.units[:]...)
	put(p.tile[:]...)
	put(p.heads, p.group, p.extra, p.slots, p.batch, p.flags, p.splits)
	put(int(int32(math.Float32bits(float32(p.scale)))))
	put(p.dims[:]...)
	return block
}

func putStrides(block []byte, tensor int, strides [strideNumbers]int64) {
	at := strideOffset + tensor*strideNumbers*8
	for _, s := range strides {
		binary.LittleEndian.PutUint64(block[at:], uint64(s))
		at += 8
	}
}

func putFlags(block []byte, flags int) {
	binary.LittleEndian.PutUint32(block[flagsOffset:], uint32(flags))
}
