// SPDX-License-Identifier: MIT

// Package abi defines what Go and assembly share: the structs that kernels take as arguments,
// and the coefficients of their functions. The generators in _asm read both from here, so that
// each is defined only once. The use of a struct is documented at the kernel's Go twin in
// package kern.
//
// All offsets and steps are in bytes unless noted otherwise.
package abi

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// ScorePair is a pair of items for the kernels that compute scores from a panel.
type ScorePair struct {
	Dst, Item, Panel int // Item is an index
}

// SumPair is a pair of items for the kernels that compute weighted sums over a panel.
type SumPair struct {
	Item, Weights, Lane           int // Item and Lane are indices
	FirstOnly, Shared, SecondOnly int // numbers of lanes
	WeightSkip, LaneSkip          int // LaneSkip in lanes
}

// Strip is the argument of the kernels for windows that are single rows.
type Strip struct {
	Dst, Vectors, Rows, Factors core.Address
	Items, Count, Eights        int // there are 8*Eights channels
	DstStep, VectorStep         int // to the next item
	Advance, Step               int // in Rows: to the first row of the next item, and to an item's next row
	FactorStep, WeightStep      int
	Add                         int    // not 0 if the result is added to Dst
	RowsAhead, ItemsAhead       int    // from rows, and from vectors or dst, to the memory to prefetch
	Cursors                     [5]int // working memory of the kernels
}

// Stencil is the argument of the kernels for small windows.
type Stencil struct {
	Dst, Vectors, Rows, Starts, Offsets, Factors core.Address
	Items, Count, Vectorful                      int // there are Vectorful vectors of channels
	DstStep, VectorStep, FactorStep              int // to the next item
}

// Quad is 2 x 2 items: two neighbors on the fastest axis in two neighboring rows.
type Quad struct {
	Panel, Rows       int       // offsets of its first lane in score panels and in row panels
	Left, Both, Right int       // numbers of lanes that only the first item meets, both items, only the second item
	Masks             [2]uint32 // [item] bits of the elements of the lanes that it meets
}

// MetRow is a row of keys that items meet: its offsets in a row panel and in the weights of an
// item.
type MetRow struct{ Panel, Weights int }

// Stream is rows of channels that kernels prefetch while they compute, two rows per quad. Rows
// of heads-last tensors are too far apart for the hardware prefetcher.
type Stream struct {
	Row         core.Address
	Step, Lines int // bytes to the next row; cache lines per row
}

// Block is the argument of the kernels for quads. Item q of a quad, 0 <= q < 4, is number q%2 on
// the fastest axis in row q/2. A vector has Lanes elements, which may take several registers.
type Block struct {
	Quads   unsafe.Pointer // [Count]Quad
	Offsets unsafe.Pointer // [Groups]int: offsets of groups of rows in a score panel
	Masks   unsafe.Pointer // [Groups][2]uint32: bits of the elements of the rows of keys that a row of items meets
	Rows    unsafe.Pointer // [Upper+Both+Lower]MetRow
	Ahead   unsafe.Pointer // [Streams]Stream

	Weights, Gradients unsafe.Pointer // item q of quad i at (4*i+q)*WeightItem, group g of it at g*GroupStep
	Vectors            unsafe.Pointer // channels, or their sums: item q of quad i at (2*i+q%2)*Item + q/2*Row
	LSE, Delta         unsafe.Pointer // a number per item, at q/2*NumberRow + 4*(2*i+q%2), or per lane
	Panel              unsafe.Pointer

	Lanes              int // elements of a vector
	Count, Channels    int
	Groups, Wide       int // groups of rows, and vectors per group
	Upper, Both, Lower int // numbers of rows that only the first row of items meets, both rows, only the second row
	Streams            int

	Pitch                 int // to the next channel in a score panel
	GroupStep, WeightItem int
	Item, Row, NumberRow  int
	Lane, Column          int // to the next lane in row panels and in weights
}

// Product is the argument of the kernel for matrix products: C = A B, or C += A B. The rows of B
// and C are contiguous. A may have any steps, so it may be transposed.
type Product struct {
	A, B, C                    core.Address
	Rows, Depth, Vectors       int // rows of C; terms of each sum; vectors per row of B and C
	ARow, ADepth, BDepth, CRow int // steps to the next row of C and to the next term of the sum
	Add                        int // not 0 if the product is added to C
}

// Columns is the argument of the kernels for scores in which a column is an item and a row is a
// key. Offsets and Deltas have an element per column or, for some kernels, per row.
type Columns struct {
	Weights, Gradients core.Address // [Rows][Vectors vectors]
	Max, Sums          core.Address // [column]
	Offsets, Deltas    core.Address
	Rows, Vectors      int
	Row                int // to the next row of Weights and Gradients
}
