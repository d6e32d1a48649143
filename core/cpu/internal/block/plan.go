// SPDX-License-Identifier: MIT

// Package block is the engine for fused attention that accumulates in float32 and whose
// windows have several rows of several keys. It computes items in quads of 2 x 2, which share
// loads: a vector holds some lanes of a group of neighboring rows of keys. The rows that a
// column of quads meets are packed once and stay in a panel while the column proceeds along
// the slow axes. One pass may compute all gradients; see gradients.go.
package block

import (
	"fmt"
	"sync"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// slabRows is the maximum number of rows along axis 1 of a task with slabs, as it keeps the
// sums of all its rows.
const slabRows = 32

// PanelBytes limits the size of a goroutine's panel in bytes; tests change it.
var PanelBytes = 5 << 18

const (
	roomy            = 3       // times PanelBytes: the limit where panels of package panel, which stream keys, are slower still
	longestTile      = 32      // positions
	longestGradients = 64      // positions, in the pass of all gradients
	largestTask      = 1 << 25 // multiply-adds at which a task stops growing
	partRows         = 8       // rows per part, so few that its lanes stay in the L1 cache from quad to quad
)

// Engine is the block engine.
type Engine struct{}

// Name implements engine.Engine.
func (Engine) Name() string { return "block" }

// Prepare implements engine.Engine.
func (Engine) Prepare(p *core.Problem, pass walk.Pass, kernels *kern.Set) (engine.Plan, string) {
	if why := refuses(p, pass, kernels); why != "" {
		return nil, why
	}
	l := &Plan{walk: walk.New(p, pass), kernels: kernels, lanes: kernels.Block.Lanes}
	l.scatter = l.walk.Products.Scatter
	if why := l.choosePanel(); why != "" {
		return nil, why
	}
	if l.scatter {
		if why := l.chooseGradients(); why != "" {
			return nil, why
		}
		return l, ""
	}
	cut := walk.Cut{Largest: largestTask, Pairs: true}
	if l.slabs {
		cut.MostRows = slabRows
	}
	l.walk.CutTasks(cut)
	return l, ""
}

// refuses returns why a pass cannot be computed in quads, or "".
func refuses(p *core.Problem, pass walk.Pass, kernels *kern.Set) string {
	switch {
	case kernels == nil || kernels.Block == nil || p.DType == core.Float64:
		return "there are no kernels for quads"
	case p.Extra > 0:
		return "there are additional tokens"
	case kernels.Dense != nil && !p.RPB && walk.LongRows(p):
		return "windows have long rows"
	}
	for a := range p.Axes {
		if x := &p.Axes[a]; x.Stride > 1 || x.QueryStep > 1 {
			return "windows do not advance with the items"
		}
	}
	switch pass.Kind {
	case walk.AttnOut, walk.AttnQuery, walk.AttnKey, walk.AttnGradients:
		return ""
	}
	return "quads are for fused attention"
}

// Plan is a pass in quads. A vector of lanes elements holds some lanes of a group of
// neighboring rows of keys, so that two rows of items share its loads. Groups are aligned to
// the first row of the windows of most pairs of rows. Groups of 4 rows begin at every second
// row and overlap, so that one of them fits each pair.
type Plan struct {
	walk    *walk.Walk
	kernels *kern.Set
	lanes   int  // elements of a vector
	scatter bool // the pass of all gradients
	sizes
}

// sizes are the dimensions of the panel. It is a ring buffer along axes 0 and 1.
type sizes struct {
	rows   int  // rows per group
	step   int  // distance in rows between neighboring groups
	phase  int  // the first row of group g is g*step - phase
	wide   int  // most vectors that the lanes of two items need
	groups int  // groups of the ring along axis 1
	ring   int  // rows of the ring along axis 1, in row panels
	planes int  // planes of the ring along axis 0, per query head in the inverse walk
	heads  int  // query heads in the inverse walk, else 1
	width  int  // lanes per row
	depth  int  // elements per lane in row panels
	slabs  bool // inverse walk: one plane of one query head at a time, as they do not fit together
}

// choosePanel chooses the groups and the size of the panel, or returns why quads would be slow.
func (l *Plan) choosePanel() string {
	w, p := l.walk, l.walk.Problem
	lanes, most := min(int(p.Axes[2].Kernel)+1, w.Met[2]), l.pairMeets(2)
	if w.Widest[1] < 2 || w.Widest[2] < 2 || most > kern.MaskBits {
		return "windows are a row, or a column, or too wide"
	}
	inverse := w.Pass.Kind.Inverse()
	l.rows, l.planes, l.heads, l.depth = 1, w.Widest[0], 1, l.whole(int(max(p.HeadDim, p.ValueDim)))
	for l.rows < 4 && lanes <= l.lanes/(2*l.rows) && most <= kern.MaskBits/(2*l.rows) && l.rows < w.Widest[1] {
		l.rows *= 2
	}
	l.wide = kern.CeilDiv(most, l.lanes/l.rows)
	l.align(&p.Axes[1], l.pairMeets(1), inverse)
	union := w.Widest[2] - 1
	if inverse {
		l.heads = w.Stacked
		if kernel := int(p.Axes[0].Kernel); p.Ragged || w.Met[0] < 3*kernel {
			l.planes = min(2*kernel-1, w.Met[0]) // on a short axis a key may be near both ends
		}
		union = 2 * int(p.Axes[2].Kernel-1) // near the ends of an axis more queries meet a key
	}
	switch {
	case l.fit(union, PanelBytes):
	case inverse:
		l.heads, l.planes, l.slabs = 1, 1, true
		if !l.fit(union, PanelBytes) {
			return "keys do not fit the panel"
		}
	case l.scatter || !l.fit(union, roomy*PanelBytes):
		return "keys do not fit the panel"
	}
	given := l.sizes
	l.hold(kern.CeilDiv(w.Met[1]+l.phase, l.step)) // keep all rows if they fit: the next planes of items need them again
	if l.planes == 1 || l.bytes() > PanelBytes {
		l.sizes = given
	}
	return ""
}

// fit chooses the length of tiles so that the panel has room for the keys that they meet, and
// reports whether there is one. A tile needs a lane per position and union more.
func (l *Plan) fit(union, limit int) bool {
	w, most := l.walk, longestTile
	switch {
	case l.scatter && !w.Apart():
		most = w.Extent[2] // one tile, as gradients of keys that two tiles share cannot be added up
	case l.scatter:
		most = longestGradients
	}
	// A panel has at least 4 numbers per lane. The loop tries each possible length once, so its
	// cost does not depend on the length of the axis.
	for longest := min(most, limit/(4*kern.Float32Bytes)); ; longest-- {
		longest = kern.CeilDiv(w.Extent[2], kern.CeilDiv(w.Extent[2], longest))
		w.Tile = longest + longest&1
		l.width = l.whole(min(w.Tile+union, w.Met[2]))
		if l.bytes() <= limit {
			return true
		}
		if w.Tile <= 8 {
			return false
		}
	}
}

// pairMeets is the maximum number of keys along an axis that two neighboring items meet.
func (l *Plan) pairMeets(axis int) int {
	kernel := int(l.walk.Problem.Axes[axis].Kernel)
	if l.walk.Pass.Kind.Inverse() { // both may be near an end, where more queries meet a key
		return min(2*kernel, l.walk.Met[axis])
	}
	return min(kernel+1, l.walk.Met[axis])
}

// align chooses the phase of groups, and the number of them that two rows of items need, whose
// windows together have up to most rows.
func (l *Plan) align(a *core.Axis, most int, inverse bool) {
	before := int(a.Kernel / 2) // rows of the window before an item far from the ends
	switch {
	case inverse && a.Causal:
		before = 0
	case a.Causal:
		before = int(a.Kernel - 1)
	case inverse:
		before = int(a.Kernel - 1 - a.Kernel/2)
	}
	l.step = min(l.rows, 2)
	l.phase = before % l.step
	most += l.step - 1
	if !inverse && !a.Ranged() { // else rows may begin anywhere
		// Pairs begin at even items. Windows of the full number of rows are therefore aligned
		// to groups, and smaller ones always fit.
		most = min(int(a.Kernel)+1, most)
	}
	l.hold((kern.CeilDiv(most, l.rows)-1)*(l.rows/l.step) + 1)
}

// hold sets the number of groups of the ring along axis 1.
func (s *sizes) hold(groups int) { s.groups, s.ring = groups, (groups-1)*s.step+s.rows }

// slots is the number of groups that a panel holds.
func (s *sizes) slots() int { return s.heads * s.planes * s.groups }

// slot is the index at which a group of a plane is packed; rowSlot is that of a row.
func (s *sizes) slot(plane, group int) int { return plane*s.groups + group%s.groups }

func (s *sizes) rowSlot(plane, row int) int { return plane*s.ring + row%s.ring }

// rowPitch is the distance in elements between rows of a row panel, and channelPitch that
// between channels of a score panel. Both are odd multiples of a cache line, so that the reads
// of a quad spread over the sets of the cache.
func (s *sizes) rowPitch() int { return (s.width*s.depth+15)/16*16 | 16 }

func (s *sizes) channelPitch() int { return s.slots()*s.width*s.rows | 16 }

func (l *Plan) scoreSize(channels int) int { return l.channelPitch()*l.whole(channels) + kern.MaskBits }

func (s *sizes) rowsSize() int { return s.rowPitch()*s.heads*s.planes*s.ring + kern.MaskBits }

// panels returns the number of elements of each panel.
func (l *Plan) panels() (sizes []int) {
	products, p := &l.walk.Products, l.walk.Problem
	if products.QK {
		sizes = append(sizes, l.scoreSize(int(p.HeadDim)))
	}
	if products.DOutV {
		sizes = append(sizes, l.scoreSize(int(p.ValueDim)))
	}
	if products.SumQK {
		sizes = append(sizes, l.rowsSize())
	}
	if products.SumVO {
		sizes = append(sizes, l.rowsSize())
	}
	if products.Scatter {
		sizes = append(sizes, l.rowsSize(), l.rowsSize())
	}
	return sizes
}

// bytes is the total size of the panels in bytes.
func (l *Plan) bytes() (size int) {
	for _, n := range l.panels() {
		size += n * kern.Float32Bytes
	}
	return size
}

// whole rounds a number of channels or lanes up to whole vectors.
func (l *Plan) whole(n int) int { return kern.CeilDiv(n, l.lanes) * l.lanes }

// Walk implements engine.Plan.
func (l *Plan) Walk() *walk.Walk { return l.walk }

// Variant implements engine.Plan.
func (l *Plan) Variant() string {
	all := ""
	if l.scatter {
		all = ", all gradients"
	}
	return fmt.Sprintf("%s, blocks of 2 x 2, tile %d, panel %d x %d rows in groups of %d x %d lanes", all, l.walk.Tile, l.planes, l.ring, l.rows, l.width)
}

// Scratch implements engine.Plan.
func (l *Plan) Scratch() int {
	items := 2 * l.walk.Tile
	weights, vectors, rows := items*l.slots()*l.wide*l.lanes, items*l.whole(l.depth), 2
	if l.slabs {
		rows = slabRows
	}
	sums, numbers := rows/2*vectors, l.slots()*l.width*l.rows+kern.MaskBits
	bytes := scratch.Bytes[float32](l.panels()...)
	bytes += scratch.Bytes[float32](weights, weights, vectors, vectors, sums, sums, 2*items, numbers, numbers, l.rows*l.width*l.depth+mostLanes)
	if l.walk.Problem.RPB {
		bytes += scratch.Bytes[float32](l.walk.Group * walk.BiasSize(l.walk.Problem))
	}
	return bytes
}

// workers pools the idle workers of all plans.
var workers sync.Pool

// Worker implements engine.Plan.
func (l *Plan) Worker() engine.Worker {
	if w, ok := workers.Get().(*worker); ok {
		return w
	}
	return &worker{Memory: scratch.New()}
}

// Slabs reports whether one plane of one query head is processed at a time. It is for tests.
func (l *Plan) Slabs() bool { return l.slabs }

// WholeRows reports whether the panel holds all rows along axis 1.
func (l *Plan) WholeRows() bool { return l.ring >= l.walk.Met[1] }

// Bytes is the total size of the panels in bytes. It is for tests.
func (l *Plan) Bytes() int { return l.bytes() }
