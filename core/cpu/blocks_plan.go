// SPDX-License-Identifier: MIT

package cpu

import "github.com/natten-mps/natten-mps/core"

// blocking is how a walk treats its items in blocks; rows is 0 if it does not.
// A vector of 16 elements holds some lanes of a group of neighbouring rows of
// columns, so that two rows of items share what is loaded. Groups are aligned to where
// the windows of most pairs of rows begin; those of 4 rows overlap, so that each pair
// finds one.
type blocking struct {
	rows   int  // of a group
	step   int  // rows from a group to the next
	phase  int  // the first row of group g is g*step - phase
	wide   int  // most vectors that the lanes of two items take
	groups int  // of the ring along axis 1
	ring   int  // rows of it in row panels
	planes int  // of the ring along axis 0, for each query head in the inverse walk
	heads  int  // query heads in the inverse walk
	width  int  // lanes
	depth  int  // elements of a lane in row panels
	slabs  bool // one plane of one query head at a time, as all do not fit: inverse walk
}

// slabRows is the most rows along axis 1 that a task of slabs keeps the sums of.
const slabRows = 32

// blockPanelBytes bounds the packed columns of blocks that a goroutine holds.
var blockPanelBytes = 5 << 18

const (
	widestBlocks    = 32      // positions of a tile
	widestGradients = 64      // of the walk of all gradients
	blockTaskWork   = 1 << 25 // multiply-adds from which a task of blocks is not made larger
)

// chooseBlocks makes the walk one of blocks if that pays.
func (w *walk) chooseBlocks(p *core.Problem, widest [3]int, element int) bool {
	lanes, most := min(int(p.Axes[2].Kernel)+1, w.columns[2]), w.pairMeets(p, 2)
	if !w.admitsBlocks(p, element) || widest[1] < 2 || widest[2] < 2 || most > mostWide*blockLanes {
		return false
	}
	inverse := w.pass.kind.inverse()
	b := blocking{rows: 1, planes: widest[0], heads: 1, depth: wholeVectors(int(max(p.HeadDim, p.ValueDim)))}
	for b.rows < 4 && lanes <= blockLanes/(2*b.rows) && most <= mostWide*blockLanes/(2*b.rows) && b.rows < widest[1] {
		b.rows *= 2
	}
	b.wide = parted(most, blockLanes/b.rows)
	b.align(&p.Axes[1], w.pairMeets(p, 1), inverse)
	union := widest[2] - 1
	if inverse {
		b.heads = w.stacked
		if kernel := int(p.Axes[0].Kernel); p.Ragged || w.columns[0] < 3*kernel {
			b.planes = min(2*kernel-1, w.columns[0]) // on a shorter axis a key may be near both ends
		}
		union = 2 * int(p.Axes[2].Kernel-1) // near the ends of an axis more queries meet a key
	}
	if !w.fitBlocks(p, &b, union) {
		b.heads, b.planes, b.slabs = 1, 1, true
		if !inverse || !w.fitBlocks(p, &b, union) {
			return false
		}
	}
	if whole := b.whole(w.columns[1]); b.planes > 1 && whole.bytes(p, w.parts) <= blockPanelBytes {
		b = whole
	}
	w.blocking, w.width, w.depth, w.ring = b, b.width, b.planes, b.ring
	return true
}

// admitsBlocks reports whether there are kernels, and a walk over blocks, for what the
// problem asks for.
func (w *walk) admitsBlocks(p *core.Problem, element int) bool {
	if simd == nil || simd.block == nil || element != float32Bytes || w.pass.tokens || p.Extra > 0 {
		return false
	}
	for a := range p.Axes {
		if x := &p.Axes[a]; x.Stride > 1 || x.QueryStep > 1 {
			return false
		}
	}
	switch w.pass.kind {
	case attnOut, attnQuery, attnKey:
		return true
	}
	return false
}

// fitBlocks chooses the positions of a tile so that the panel has room for the
// columns that they meet; union is the lanes of a tile beyond one for each position.
func (w *walk) fitBlocks(p *core.Problem, b *blocking, union int) bool {
	most := widestBlocks
	switch {
	case w.parts.scatter && !apart(p, w.pass):
		most = w.extent[2] // the keys that two tiles meet cannot be added up
	case w.parts.scatter:
		most = widestGradients
	}
	for tiles := parted(w.extent[2], most); ; tiles++ {
		w.tile = parted(w.extent[2], tiles)
		w.tile += w.tile & 1
		b.width = parted(min(w.tile+union, w.columns[2]), blockLanes) * blockLanes
		if b.bytes(p, w.parts) <= blockPanelBytes {
			return true
		}
		if w.tile <= 8 {
			return false
		}
	}
}

// pairMeets is the most columns along an axis that two neighbouring items meet.
func (w *walk) pairMeets(p *core.Problem, axis int) int {
	kernel := int(p.Axes[axis].Kernel)
	if w.pass.kind.inverse() { // both may be near an end, where more queries meet a key
		return min(2*kernel, w.columns[axis])
	}
	return min(kernel+1, w.columns[axis])
}

// align chooses the phase of groups, and how many of them the windows of two
// rows of items, most rows in all, can touch.
func (b *blocking) align(a *core.Axis, most int, inverse bool) {
	before := int(a.Kernel / 2) // rows of the window before an item far from the ends
	switch {
	case inverse && a.Causal:
		before = 0
	case a.Causal:
		before = int(a.Kernel - 1)
	case inverse:
		before = int(a.Kernel - 1 - a.Kernel/2)
	}
	b.step = min(b.rows, 2)
	b.phase = before % b.step
	most += b.step - 1
	if !inverse {
		// Pairs begin at even items: all of most rows are aligned, fewer always fit.
		most = min(int(a.Kernel)+1, most)
	}
	b.hold((parted(most, b.rows)-1)*(b.rows/b.step) + 1)
}

// hold sets the number of groups of the ring.
func (b *blocking) hold(groups int) {
	b.groups, b.ring = groups, (groups-1)*b.step+b.rows
}

// whole is a panel for all rows along axis 1: what it holds serves the next places on
// axis 0 too.
func (b *blocking) whole(rows int) blocking {
	w := *b
	w.hold(parted(rows+b.phase, b.step))
	return w
}

// slots is the number of groups that a panel holds.
func (b *blocking) slots() int { return b.heads * b.planes * b.groups }

// slot is where a group of a plane is packed, and rowSlot where a row is.
func (b *blocking) slot(plane, group int) int { return plane*b.groups + group%b.groups }

func (b *blocking) rowSlot(plane, row int) int { return plane*b.ring + row%b.ring }

// rowPitch and channelPitch are the distances, in elements, of rows of a row panel and
// of channels of a score panel: odd numbers of cache lines, so that what a block
// reads spreads over the sets of the cache.
func (b *blocking) rowPitch() int { return (b.width*b.depth+15)/16*16 | 16 }

func (b *blocking) channelPitch() int { return b.slots()*b.width*b.rows | 16 }

func (b *blocking) scoreSize(channels int) int {
	return b.channelPitch()*wholeVectors(channels) + mostWide*blockLanes
}

func (b *blocking) rowsSize() int { return b.rowPitch()*b.heads*b.planes*b.ring + 2*blockLanes }

// bytes is the size of the panels.
func (b *blocking) bytes(p *core.Problem, parts parts) (size int) {
	if parts.scoreFirst {
		size += b.scoreSize(int(p.HeadDim))
	}
	if parts.scoreSecond {
		size += b.scoreSize(int(p.ValueDim))
	}
	if parts.sumFirst {
		size += b.rowsSize()
	}
	if parts.sumSecond {
		size += b.rowsSize()
	}
	if parts.scatter {
		size += 2 * b.rowsSize()
	}
	return size * float32Bytes
}

// wholeVectors is a number of channels rounded up to vectors of blocks.
func wholeVectors(channels int) int { return (channels + blockLanes - 1) &^ (blockLanes - 1) }

// blockTask is the number of multiply-adds to make a task of: enough that the rows which
// two tasks both pack do not matter, but some tasks for every goroutine.
func (w *walk) blockTask(total float64) float64 {
	return max(min(total/8, blockTaskWork), taskWork)
}

// blockScratch is the number of bytes that a goroutine holds in a walk of blocks.
func (w *walk) blockScratch(p *core.Problem) int {
	b, items := &w.blocking, 2*w.tile
	scores := 2 * items * b.slots() * b.wide * blockLanes
	vectors := 2 * items * (b.depth + wholeVectors(b.depth) + 3)
	if b.slabs {
		vectors += slabRows * w.tile * 2 * wholeVectors(b.depth)
	}
	loaded := b.rows * b.width * b.depth
	return b.bytes(p, w.parts) + (scores+vectors+loaded+2*b.slots()*b.width*b.rows)*float32Bytes
}
