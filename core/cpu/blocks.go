// SPDX-License-Identifier: MIT

package cpu

import "unsafe"

// block is 2 x 2 items: two neighbours on the fastest axis in two neighbouring
// rows. Its layout is known to the generator.
type block struct {
	panel, rows       int       // bytes to its first lane in score panels and row panels
	left, both, right int       // lanes that only the first item meets, that both do, that only the second does
	masks             [2]uint32 // bits of the elements of the lanes that either item meets
}

// blockRun is neighbouring blocks whose lanes take the same number of vectors.
type blockRun struct{ first, count, wide int }

// reach is the query heads and the planes of columns that are taken at once.
type reach struct{ member, members, plane, planes int } // from one up to another

// place is a row, or a group of rows, of columns and where it is packed.
type place struct{ n0, member, number, slot int }

// tag tells places of a slot apart.
func (p *place) tag() int { return p.n0<<32 | p.number }

// metRow is a row of columns that items meet: bytes to it in a row panel and in the
// weights of an item. Its layout is known to the generator.
type metRow struct{ panel, weights int }

// metPart is some of the rows that items meet: first those that only the first row of
// items meets, then those of both, then those of the second.
type metPart struct{ first, upper, both, lower int }

// laneKernel is a kernel for the lanes that blocks meet; vectors are channels of items or
// their sums.
type laneKernel = func(vectors, weights, panel, blocks, rows, ahead unsafe.Pointer, count, channels, upper, both, lower, lane, column, weightItem, item, row, streams int)

// blockKernels are float32 kernels for blocks. What each computes is written at
// its Go prototype.
type blockKernels struct {
	score         func(dst, items, panel, blocks, offsets, ahead unsafe.Pointer, count, depth, pitch, vectors, dstStep, dstItem, item, row, streams int)
	softmax       func(scores, blocks, masks, statistics unsafe.Pointer, count, vectors, wide, step, item, row int)
	gradientItems func(scores, gradients, blocks, masks, lse, delta unsafe.Pointer, count, vectors, wide, step, item, row int)
	gradientLanes func(scores, gradients, blocks, masks, lse, delta, offsets unsafe.Pointer, count, vectors, wide, step, item int)
	accumulate    laneKernel
	scatter       laneKernel
	turn          func(dst, rows unsafe.Pointer, blocks, pitch int)
	dotRows       func(dst, a, b unsafe.Pointer, rows, blocks, step, aStep, bStep int)
}

const (
	blockVectors = 4  // that one call of the score kernel takes
	blockLanes   = 16 // of a vector
	mostWide     = 2  // vectors that the lanes of a block may take
	partRows     = 8  // of a metPart: what its lanes hold stays in the first cache from block to block
)

// laneBits has the bits of the elements of some lanes, rows elements each.
func laneBits(from, to, rows int) uint32 {
	return uint32(uint64(1)<<(to*rows) - uint64(1)<<(from*rows))
}

// repeatBits repeats a number of bits over all 32.
func repeatBits(bits uint32, count int) uint32 {
	for ; count < 32; count *= 2 {
		bits |= bits << count
	}
	return bits
}
