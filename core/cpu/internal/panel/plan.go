// SPDX-License-Identifier: MIT

// Package panel is the engine that takes every pass. Items are the positions of a tile
// times the query heads of a group; the rows of keys that they meet are packed into a
// panel, transposed to be scored with and by rows to be summed up. What does not fit the
// panel is taken piece by piece, with an online softmax.
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
	panelBytes  = 1 << 19 // of packed keys that a goroutine holds
	widestPanel = 128     // lanes
	rowTile     = 10      // positions, when windows have several rows
	leastTile   = 8       // positions; for fewer packing costs more than a window in pieces
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

// singles and doubles are workers that no run has: all plans share them, so that many
// plans hold little memory.
var singles, doubles sync.Pool

// plan is a pass in panels.
type plan[T kern.Number] struct {
	walk    *walk.Walk
	kernels *kern.Set // nil: portable Go
	workers *sync.Pool
	width   int // lanes of a slot
	depth   int // planes of keys that the panel holds
	ring    int // rows of keys of a plane that it holds
}

func newPlan[T kern.Number](p *core.Problem, pass walk.Pass, kernels *kern.Set, workers *sync.Pool) *plan[T] {
	l := &plan[T]{walk: walk.New(p, pass), kernels: kernels, workers: workers}
	l.chooseTile()
	l.choosePanel()
	l.walk.CutTasks(walk.Cut{Largest: walk.TaskWork})
	return l
}

// chooseTile picks the lanes of a slot and the positions of a tile. Wide slots
// share the packing of neighboring windows between more items; slots of several
// rows are kept so narrow that the transposed keys of a window stay near the core.
// Windows of which hardly more than one fits a slot are taken in pieces.
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

// rowBytes is the size of a lane in the panel.
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

// slots of the panel of the token layout.
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
