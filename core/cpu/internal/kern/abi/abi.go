// SPDX-License-Identifier: MIT

// Package abi is what Go and assembly agree on: the structs that kernels are called
// with, and the coefficients of their functions. The generators in _asm read both from
// here, so that neither stands anywhere else. What a kernel does with a struct is
// written at its Go twin in package kern.
//
// All offsets and steps are in bytes unless said.
package abi

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// ScorePair is a pair of items for the kernels that score panels.
type ScorePair struct {
	Dst, Item, Panel int // Item is a number
}

// SumPair is a pair of items for the kernels that sum up panels.
type SumPair struct {
	Item, Weights, Lane           int // Item and Lane are numbers
	FirstOnly, Shared, SecondOnly int // lanes
	WeightSkip, LaneSkip          int // LaneSkip in lanes
}

// Strip is a call of the kernels for windows that are single rows, with memory of theirs.
type Strip struct {
	Dst, Vectors, Rows, Factors core.Address
	Items, Count, Eights        int // Eights times 8 channels
	DstStep, VectorStep         int // to the next item
	Advance, Step               int // of rows, to the next item and within it
	FactorStep, WeightStep      int
	Add                         int // not 0 if what Dst holds stays in the sum
	RowsAhead, ItemsAhead       int // from rows, and from vectors or dst, to what to ask for
	Cursors                     [5]int
}

// Stencil is a call of the kernels for windows of several rows of few keys.
type Stencil struct {
	Dst, Vectors, Rows, Starts, Offsets, Factors core.Address
	Items, Count, Vectorful                      int // Vectorful times the lanes of a vector are the channels
	DstStep, VectorStep, FactorStep              int // to the next item
}

// Quad is 2 x 2 items: two neighbors on the fastest axis in two neighboring rows.
type Quad struct {
	Panel, Rows       int       // to its first lane in score panels and row panels
	Left, Both, Right int       // lanes that only the first item meets, that both do, that only the second does
	Masks             [2]uint32 // bits of the elements of the lanes that either item meets
}

// MetRow is a row of keys that items meet: where it is in a row panel and in the
// weights of an item.
type MetRow struct{ Panel, Weights int }

// Stream is rows of channels that kernels prefetch, two rows per quad, while they compute:
// rows of heads-last tensors are too far apart for the processor to foresee them.
type Stream struct {
	Row         core.Address
	Step, Lines int // to the next row; cache lines of a row
}

// Block is a call of the kernels for quads. Item q of a quad i is one of its four: q%2
// on the fastest axis, in row q/2. A vector has Lanes elements, whatever the instruction set.
type Block struct {
	Quads   unsafe.Pointer // [Count]Quad
	Offsets unsafe.Pointer // [Groups]int: of groups of rows in a score panel
	Masks   unsafe.Pointer // [Groups][2]uint32: bits of the elements of the rows of keys that a row of items meets
	Rows    unsafe.Pointer // [Upper+Both+Lower]MetRow
	Ahead   unsafe.Pointer // [Streams]Stream

	Weights, Gradients unsafe.Pointer // item q of quad i at (4*i+q)*WeightItem, group g of it at g*GroupStep
	Vectors            unsafe.Pointer // channels, or their sums: item q of quad i at (2*i+q%2)*Item + q/2*Row
	LSE, Delta         unsafe.Pointer // a number per item, at q/2*NumberRow + 4*(2*i+q%2), or per lane
	Panel              unsafe.Pointer

	Lanes              int // of a vector
	Count, Channels    int
	Groups, Wide       int // groups of rows, and the vectors that one takes
	Upper, Both, Lower int // rows that only the first row of items meets, that both do, that only the second does
	Streams            int

	Pitch                 int // of a score panel, to the next channel
	GroupStep, WeightItem int
	Item, Row, NumberRow  int
	Lane, Column          int // to the next lane in row panels and in weights
}

// Product is a call of the kernel for matrix products: C = A B, or C + A B. The rows of B
// and C are contiguous, A has any steps, so that it may be transposed.
type Product struct {
	A, B, C                    core.Address
	Rows, Depth, Vectors       int // of C; of the sum; of a row of C: Vectors times the lanes of a vector
	ARow, ADepth, BDepth, CRow int // steps to the next row of C and to the next term of the sum
	Add                        int // not 0 if what C holds stays in the sum
}

// Columns is a call of the kernels for scores that stand in columns: a column is an item,
// a row is what all items meet. Offsets and Deltas are of columns or of rows.
type Columns struct {
	Weights, Gradients core.Address // [Rows][Vectors times the lanes of a vector]
	Max, Sums          core.Address // [column]
	Offsets, Deltas    core.Address
	Rows, Vectors      int
	Row                int // to the next row of Weights and Gradients
}
