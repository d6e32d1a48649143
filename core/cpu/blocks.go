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

// blockKernels are float32 kernels for blocks. What each computes is written at
// its Go prototype.
type blockKernels struct {
	score      func(dst, items, panel, blocks, offsets unsafe.Pointer, count, depth, pitch, vectors, dstStep, dstItem, item, row int)
	softmax    func(scores, blocks, masks, statistics unsafe.Pointer, count, vectors, wide, item, row int)
	accumulate func(sums, weights, panel, blocks, rows unsafe.Pointer, count, channels, upper, both, lower, lane, column, weightItem, item, row int)
	turn       func(dst, rows unsafe.Pointer, blocks, pitch int)
}

const (
	blockVectors = 4  // that one call of the score kernel takes
	blockLanes   = 16 // of a vector
)
