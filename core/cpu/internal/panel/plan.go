// SPDX-License-Identifier: MIT

// Package panel is the engine that takes every pass, except the single pass for all gradients.
// Items are the positions of a tile times the query heads of a group. The rows of keys that
// they meet are packed into a panel, transposed for scores and by rows for sums. Windows that
// do not fit the panel are processed piece by piece with an online softmax.
package panel

import (
	"fmt"
	"sync"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

const (
	panelBytes  = 1 << 19 // limit of a goroutine's packed keys
	widestPanel = 128     // lanes
	rowTile     = 10      // positions per tile if windows have several rows
	leastTile   = 8       // positions; with fewer per tile, packing costs more than splitting the window
)

// Engine is the panel engine.
type Engine struct{}

// Name implements engine.Engine.
func (Engine) Name() string { return "panel" }

// Prepare implements engine.Engine.
func (Engine) Prepare(p *core.Problem, pass walk.Pass, kernels *kern.Set) (engine.Plan, string) {
	if pass.Kind == walk.AttnGradients {
		return nil, "panels give queries' and keys' gradients in two passes"
	}
	if p.DType == core.Float64 {
		return newPlan[float64](p, pass, nil, &doubles), ""
	}
	return newPlan[float32](p, pass, kernels, &singles), ""
}

// singles and doubles pool idle workers. All plans share them, so that many plans hold little
// memory.
var singles, doubles sync.Pool

// plan is a pass in panels.
type plan[T kern.Number] struct {
	walk    *walk.Walk
	kernels *kern.Set // nil: portable Go
	workers *sync.Pool
	width   int // lanes per slot
	depth   int // planes of keys in the panel; 0 if windows do not fit it
	ring    int // rows of keys per plane in the panel; 0 if windows do not fit it
}

func newPlan[T kern.Number](p *core.Problem, pass walk.Pass, kernels *kern.Set, workers *sync.Pool) *plan[T] {
	l := &plan[T]{walk: walk.New(p, pass), kernels: kernels, workers: workers}
	l.chooseTile()
	l.choosePanel()
	l.walk.CutTasks(walk.Cut{Largest: walk.TaskWork})
	return l
}

// chooseTile chooses the lanes per slot and the positions per tile. Wide slots share the
// packing of neighboring windows between more items. If windows have several rows, slots are
// kept narrow, so that the transposed keys of a window stay in the core's cache. If a slot
// would hold few more keys than one window, windows are processed in pieces.
func (l *plan[T]) chooseTile() {
	w := l.walk
	spare := walk.LongestTile - 1
	if w.Widest[0]*w.Widest[1] > 1 {
		spare = rowTile - 1
	}
	l.width = min(kern.Padded(w.Widest[2]+min(spare, w.Extent[2]-1)), widestPanel)
	w.Tile = min(max(l.width-w.Widest[2]+1, 1), walk.LongestTile, max(w.Extent[2], 1))
	if w.Met[2] <= l.width || w.Tile < leastTile {
		w.Tile = min(w.Extent[2], walk.LongestTile)
	}
	if w.Member > 1 {
		w.Tile = max(min(w.Tile, walk.LongestTile/w.Member), 1)
	}
	tiles := kern.CeilDiv(w.Extent[2], w.Tile)
	w.Tile = (w.Extent[2] + tiles - 1) / max(tiles, 1)
}

// rowBytes is the number of bytes per lane in the panel.
func (l *plan[T]) rowBytes() int {
	return 2 * int(l.walk.Problem.HeadDim+l.walk.Problem.ValueDim) * kern.SizeOf[T]()
}

func (l *plan[T]) choosePanel() {
	w, row := l.walk, l.rowBytes()
	for l.width > 8 && l.width*row > panelBytes {
		l.width = max(l.width/2&^7, 8)
	}
	limit := max(panelBytes/(l.width*row), 1)
	l.depth, l.ring = w.Widest[0], w.Widest[1]
	planes := 1
	if w.Pass.Kind.Inverse() {
		planes = w.Stacked
	}
	if planes > limit || l.depth > limit/planes || l.ring > limit/planes/l.depth {
		l.depth, l.ring = 0, 0
	}
}

// slots is the number of slots of the panel for keys of the token layout.
func (l *plan[T]) slots() int {
	if l.ring > 0 {
		if l.walk.Pass.Kind.Inverse() {
			return l.walk.Stacked * l.depth * l.ring
		}
		return l.depth * l.ring
	}
	return min(max(panelBytes/(l.width*l.rowBytes()), 1), 64)
}

// Walk implements engine.Plan.
func (l *plan[T]) Walk() *walk.Walk { return l.walk }

// Variant implements engine.Plan.
func (l *plan[T]) Variant() string {
	return fmt.Sprintf(", tile %d, panel %d x %d x %d lanes", l.walk.Tile, l.depth, l.ring, l.width)
}

// Scratch implements engine.Plan.
func (l *plan[T]) Scratch() int {
	p, items, lanes := l.walk.Problem, l.walk.Tile*l.walk.Member, l.slots()*l.width
	weights := (items+1)*(lanes+8) + kern.Slack
	bytes := scratch.Bytes[T](weights, weights, items, items, items, items, l.width, 2, lanes+kern.Slack, lanes+kern.Slack)
	for _, channels := range [2]int64{p.HeadDim, p.ValueDim} {
		depth := kern.Padded(int(channels))
		bytes += scratch.Bytes[T]((items+1)*depth, (items+1)*depth, lanes*depth+kern.Slack, (lanes+8)*depth+kern.Slack)
		if p.Extra > 0 {
			bytes += scratch.Bytes[T](l.width*depth+kern.Slack, (l.width+8)*depth+kern.Slack)
		}
	}
	return bytes
}

// Serves implements engine.Plan.
func (l *plan[T]) Serves(*walk.Run) bool { return true }

// Partial implements engine.Plan.
func (l *plan[T]) Partial() bool { return false }

// Worker implements engine.Plan.
func (l *plan[T]) Worker() engine.Worker {
	if w, ok := l.workers.Get().(*worker[T]); ok {
		return w
	}
	return &worker[T]{Memory: scratch.New()}
}
