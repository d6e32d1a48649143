// SPDX-License-Identifier: MIT

package cpu

import (
	"github.com/natten-mps/natten-mps/core"
)

const (
	panelBytes   = 1 << 19 // of packed columns that a goroutine holds
	widestPanel  = 128     // lanes
	longestTile  = 32      // positions
	rowTile      = 10      // positions, when windows have several rows
	largestGroup = 32      // query heads that are treated together
	taskWork     = 1 << 19 // multiply-adds that are worth a task of their own
)

// walk is a pass with its sizes.
type walk struct {
	pass       pass
	parts      parts
	group      int    // query heads of a key head
	member     int    // query heads that are items together, forward walk
	stacked    int    // query heads whose columns are met together, inverse walk
	tile       int    // positions along the fastest axis
	width      int    // lanes of a slot
	depth      int    // columns of axis 0 that the panel holds
	ring       int    // columns of axis 1 that the panel holds
	extent     [3]int // items of the longest dilation group, by axis
	columns    [3]int // an upper bound of columns of a dilation group, by axis
	block      [3]int // positions of a task on axes 0 and 1, tiles on axis 2
	heads      int    // key heads, or parts of their groups, of a task
	counts     [6]int // sizes of the task grid: batch, class, axis 0, axis 1, axis 2, heads
	tasks      int64  // product of counts
	coloured   bool   // tasks with an even place on colourAxis come first, as neighbours meet the same keys
	colourAxis int
	bins       int  // partial sums of d_rpb
	strip      bool // tiles are strips
	stencil    bool // of windows of several rows

	blocking blocking
}

func newWalk(p *core.Problem, q pass, element int) *walk {
	w, widest := newSizes(p, q)
	if !w.chooseBlocks(p, widest, element) {
		w.chooseTile(widest)
		w.choosePanel(p, widest, element)
	}
	w.chooseTasks(p, widest)
	return w
}

// newSizes is a walk with the sizes that the problem gives it.
func newSizes(p *core.Problem, q pass) (w *walk, widest [3]int) {
	w = &walk{pass: q, parts: partsOf[q.kind], group: int(p.Group()), member: 1, stacked: int(p.Group())}
	if q.kind.inverse() && apart(p, q) {
		w.stacked = 1
	}
	for a := range 3 {
		w.extent[a], widest[a] = extents(&p.Axes[a], q)
	}
	for a := range 3 {
		w.columns[a] = int(p.Axes[a].GroupLength(0))
	}
	if q.tokens {
		w.extent[2] = int(p.Extra)
		w.columns[2] = int(p.Axes[2].Outputs())
	}
	if !q.kind.inverse() {
		w.member = min(w.group, largestGroup)
	}
	return w, widest
}

// apart reports whether the query heads of a key head follow one another, each
// adding to the gradients of the one before: where those are stored as they are
// summed up. The columns of one head stay near the core, those of all do not.
func apart(p *core.Problem, q pass) bool {
	return !q.tokens && p.DType.Accumulator() == p.DType && p.HeadDim%8 == 0 && p.ValueDim%8 == 0
}

// extents returns the most items of a dilation group and the most columns that
// one of them meets.
func extents(a *core.Axis, q pass) (items, columns int) {
	switch {
	case q.tokens:
		return 1, int(a.Outputs())
	case !q.kind.inverse():
		period := a.QueryStep / gcd(a.QueryStep, a.Dilation)
		return int((a.GroupLength(0)-1)/period + 1), int(a.Kernel)
	}
	l := newLine(*a, 0)
	for n := range min(l.keys, 4*int(a.Kernel)) {
		lo, hi := l.queriesOf(n)
		columns = max(columns, hi-lo)
	}
	return l.keys, columns
}

// chooseTile picks the lanes of a slot and the positions of a tile. Wide slots
// share the packing of neighbouring windows between more queries; slots of several
// rows are kept so narrow that the turned columns of a window stay near the core.
func (w *walk) chooseTile(widest [3]int) {
	spare := longestTile - 1
	if widest[0]*widest[1] > 1 {
		spare = rowTile - 1
	}
	w.width = min(padded(widest[2]+min(spare, w.extent[2]-1)), widestPanel)
	w.tile = min(max(w.width-widest[2]+1, 1), longestTile, max(w.extent[2], 1))
	if w.columns[2] <= w.width {
		w.tile = min(w.extent[2], longestTile)
	}
	if w.member > 1 {
		w.tile = max(min(w.tile, longestTile/w.member), 1)
	}
	tiles := (w.extent[2] + w.tile - 1) / w.tile
	w.tile = (w.extent[2] + tiles - 1) / max(tiles, 1)
}

func (w *walk) choosePanel(p *core.Problem, widest [3]int, element int) {
	row := 2 * int(p.HeadDim+p.ValueDim) * element
	for w.width > 8 && w.width*row > panelBytes {
		w.width = max(w.width/2&^7, 8)
	}
	limit := max(panelBytes/(w.width*row), 1)
	w.depth, w.ring = widest[0], widest[1]
	planes := 1
	if w.pass.kind.inverse() {
		planes = w.stacked
	}
	if planes > limit || w.depth > limit/planes || w.ring > limit/planes/w.depth {
		w.depth, w.ring = 0, 0
	}
}

// slots of the panel of the token layout.
func (w *walk) slots(p *core.Problem, element int) int {
	if w.ring > 0 {
		if w.pass.kind.inverse() {
			return w.stacked * w.depth * w.ring
		}
		return w.depth * w.ring
	}
	row := 2 * int(p.HeadDim+p.ValueDim) * element
	return min(max(panelBytes/(w.width*row), 1), 64)
}

func (w *walk) chooseTasks(p *core.Problem, widest [3]int) {
	classes := int(p.Axes[0].Dilation * p.Axes[1].Dilation * p.Axes[2].Dilation)
	if w.pass.tokens {
		classes = 1
	}
	heads := int(p.KVHeads)
	if !w.pass.kind.inverse() {
		heads *= (w.group + w.member - 1) / w.member
	}
	work := float64(w.tile*w.member) * float64(p.HeadDim+p.ValueDim) * float64(widest[0]) * float64(widest[1]) * float64(widest[2])
	w.block = [3]int{1, 1, 1}
	w.heads = 1
	goal := float64(taskWork)
	if w.blocking.rows > 0 {
		goal = w.blockTask(work * float64(int(p.Batch)*heads*parted(w.extent[2], w.tile)*w.extent[1]*w.extent[0]))
		w.block[1] = 2
		work *= 2
	}
	widen := func(n *int, limit int) {
		for *n < limit && work < goal {
			step := min(*n*2, limit)
			work *= float64(step) / float64(*n)
			*n = step
		}
	}
	if w.stencil {
		widen(&w.heads, heads)
	}
	rows := w.extent[1]
	if w.blocking.slabs {
		rows = min(rows, slabRows)
	}
	widen(&w.block[1], rows)
	if w.pass.outputs[len(w.pass.outputs)-1] != core.DRPB || !p.RPB {
		widen(&w.heads, heads)
	}
	tiles := (w.extent[2] + w.tile - 1) / max(w.tile, 1)
	widen(&w.block[2], tiles)
	widen(&w.block[0], w.extent[0])
	w.counts = [6]int{
		int(p.Batch), classes, parted(w.extent[0], w.block[0]), parted(w.extent[1], w.block[1]),
		parted(tiles, w.block[2]), parted(heads, w.heads),
	}
	w.countTasks()
	w.bins = int(min(16, max(w.tasks/int64(max(w.counts[5], 1)), 1)))
}

func (w *walk) countTasks() {
	w.tasks = 1
	for _, n := range w.counts {
		w.tasks *= int64(n)
	}
}

func parted(n, size int) int { return (n + size - 1) / size }

// scratch is the number of bytes that a goroutine holds in the walk.
func (w *walk) scratch(p *core.Problem, element int) int {
	if w.strip {
		return w.stripScratch(p, element)
	}
	if w.blocking.rows > 0 {
		return w.blockScratch(p)
	}
	items, channels := w.tile*w.member, int(p.HeadDim+p.ValueDim)
	lanes := w.slots(p, element) * w.width
	elements := 2*(lanes+w.width)*channels + 2*items*(channels+2) + 2*items*lanes
	return elements * element
}
