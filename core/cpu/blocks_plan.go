// SPDX-License-Identifier: MIT

package cpu

import "github.com/natten-mps/natten-mps/core"

// blocking is how a walk treats its items in blocks; rows is 0 if it does not.
// A vector of 16 elements holds some lanes of a group of neighbouring rows of
// columns, so that two rows of items share what is loaded. The groups are aligned
// to where the windows of most pairs of rows begin.
type blocking struct {
	rows   int // of a group
	phase  int // the first row of group g is g*rows - phase
	wide   int // vectors that the lanes of two items take
	groups int // of the ring along axis 1
	planes int // that the panel holds along axis 0
	width  int // lanes
}

const (
	blockPanelBytes = 1 << 20 // of packed columns of blocks that a goroutine holds
	widestBlocks    = 64      // positions of a tile
	blockTaskWork   = 1 << 23 // multiply-adds from which a task of blocks is not made larger
)

// chooseBlocks makes the walk one of blocks if that pays.
func (w *walk) chooseBlocks(p *core.Problem, widest [3]int, element int) bool {
	if simd == nil || simd.block == nil || element != float32Bytes || w.pass.kind != attnOut || w.pass.tokens || p.Extra > 0 || p.RPB {
		return false
	}
	for a := range p.Axes {
		if x := &p.Axes[a]; x.Stride > 1 || x.QueryStep > 1 {
			return false
		}
	}
	lanes := min(widest[2]+1, w.columns[2])
	if widest[1] < 2 || widest[2] < 2 || lanes > 2*blockLanes {
		return false
	}
	b := blocking{rows: 1, wide: parted(lanes, blockLanes), planes: widest[0]}
	for b.rows < 4 && lanes <= blockLanes/(2*b.rows) && b.rows < widest[1] {
		b.rows *= 2
	}
	b.phase = int(p.Axes[1].Kernel / 2)
	if p.Axes[1].Causal {
		b.phase = int(p.Axes[1].Kernel - 1)
	}
	b.phase %= b.rows
	b.groups = parted(min(widest[1]+1, w.columns[1])+b.rows-1, b.rows)
	if b.rows == 2 {
		b.groups = parted(min(widest[1]+1, w.columns[1]+b.phase), b.rows)
	}
	for tiles := parted(w.extent[2], widestBlocks); ; tiles++ {
		w.tile = parted(w.extent[2], tiles)
		w.tile += w.tile & 1
		b.width = min(w.tile+widest[2]-1, w.columns[2])
		b.width = parted(b.width, blockLanes) * blockLanes
		if b.bytes(p) <= blockPanelBytes {
			break
		}
		if w.tile <= 8 {
			return false
		}
	}
	w.blocking, w.width, w.depth, w.ring = b, b.width, b.planes, b.groups*b.rows
	return true
}

// slots is the number of groups that a panel holds.
func (b *blocking) slots() int { return b.planes * b.groups }

// rowPitch and channelPitch are the distances, in elements, of rows of a row panel and
// of channels of a score panel: odd numbers of cache lines, so that what a block
// reads spreads over the sets of the cache.
func (b *blocking) rowPitch(channels int) int {
	return (b.width*padded(channels)+15)/16*16 | 16
}

func (b *blocking) channelPitch() int { return b.slots()*b.width*b.rows | 16 }

// bytes is the size of the panels.
func (b *blocking) bytes(p *core.Problem) int {
	score := b.channelPitch() * wholeVectors(int(p.HeadDim))
	rows := b.rowPitch(int(p.ValueDim)) * b.slots() * b.rows
	return (score + rows) * float32Bytes
}

// wholeVectors is a number of channels rounded up to vectors of blocks.
func wholeVectors(channels int) int { return (channels + blockLanes - 1) &^ (blockLanes - 1) }

// blockTask is the number of multiply-adds of a task: enough that the rows which two
// tasks both pack do not matter, but some tasks for every goroutine.
func (w *walk) blockTask(total float64) float64 {
	return max(min(total/8, blockTaskWork), taskWork)
}

// blockScratch is the number of bytes that a goroutine holds in a walk of blocks.
func (w *walk) blockScratch(p *core.Problem) int {
	b, items := &w.blocking, 2*w.tile
	scores := items * b.slots() * b.wide * blockLanes
	sums := items * (padded(int(p.HeadDim)) + wholeVectors(int(p.ValueDim)) + 3)
	loaded := b.rows * b.width * padded(int(p.HeadDim))
	return b.bytes(p) + (scores+sums+loaded)*float32Bytes
}
