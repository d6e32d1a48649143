// SPDX-License-Identifier: MIT

// Package flash is the engine for windows with long rows, up to the whole input. It processes
// the union of the windows of a tile of items piece by piece, as FlashAttention does (Dao et
// al. 2022), with a mask for keys outside an item's window: scores are a matrix product, the
// softmax keeps a running maximum across pieces, and the weighted sums are another matrix
// product.
//
// Scores are stored as [key][item], so a vector holds neighboring items. The softmax thus needs
// no reduction across lanes, and keys and values are read directly from the tensors.
package flash

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
	mostItems = 96  // items per tile
	fewItems  = 48  // items per tile if there are fewer than fewTiles tiles
	fewTiles  = 64  // counted in tiles of mostItems
	piece     = 192 // maximum number of keys per piece
)

// Engine is the flash engine.
type Engine struct {
	Everywhere bool // also take windows with short rows; for tests
}

// Name implements engine.Engine.
func (Engine) Name() string { return "flash" }

// Prepare implements engine.Engine.
func (e Engine) Prepare(p *core.Problem, pass walk.Pass, kernels *kern.Set) (engine.Plan, string) {
	switch {
	case kernels == nil || kernels.Dense == nil:
		return nil, "there are no kernels for matrix products"
	case pass.Tokens || !fused(pass.Kind):
		return nil, "this is for fused attention without additional tokens as items"
	case p.DType == core.Float64:
		return nil, "the type of sums is float64"
	case p.RPB:
		return nil, "there is a bias"
	case !e.Everywhere && !walk.LongRows(p):
		return nil, "windows have short rows"
	}
	l := newPlan(p, pass, kernels)
	if pass.Kind == walk.AttnGradients {
		if why := l.chooseGradients(); why != "" {
			return nil, why
		}
	}
	return l, ""
}

func fused(kind walk.Kind) bool {
	switch kind {
	case walk.AttnOut, walk.AttnQuery, walk.AttnKey, walk.AttnGradients:
		return true
	}
	return false
}

// workers pools the idle workers of all plans.
var workers sync.Pool

// plan is a pass in dense tiles.
type plan struct {
	walk    *walk.Walk
	kernels *kern.Set
	items   int // maximum number of items per tile; a group with more query heads exceeds it
}

func newPlan(p *core.Problem, pass walk.Pass, kernels *kern.Set) *plan {
	l := &plan{walk: walk.New(p, pass), kernels: kernels, items: mostItems}
	w := l.walk
	positions := float64(w.Extent[0]) * float64(w.Extent[1]) * float64(w.Extent[2])
	if tiles := positions * float64(p.Batch*p.Heads*int64(w.Classes())) / mostItems; tiles < fewTiles {
		l.items = fewItems
	}
	w.ChooseTile(max(l.items/w.Member, 1))
	w.CutTasks(walk.Cut{Largest: walk.TaskWork})
	return l
}

// Walk implements engine.Plan.
func (l *plan) Walk() *walk.Walk { return l.walk }

// Variant implements engine.Plan.
func (l *plan) Variant() string {
	all := ""
	if l.scatters() {
		all = ", all gradients"
	}
	return fmt.Sprintf("%s, dense tiles of %d", all, l.walk.Tile*l.walk.Member)
}

// rows is the number of rows of items that are processed together if they meet the same keys.
func (l *plan) rows() int { return max(l.items/(l.walk.Tile*l.walk.Member), 1) }

// width rounds a number of items up to whole vectors.
func (l *plan) width(items int) int {
	lanes := l.kernels.Dense.Lanes
	return kern.CeilDiv(items, lanes) * lanes
}

// padded rounds a number of channels up to whole vectors of every kernel.
func (l *plan) padded(channels int) int {
	lanes := max(l.kernels.Dense.Lanes, 8)
	return kern.CeilDiv(channels, lanes) * lanes
}

// Scratch implements engine.Plan.
func (l *plan) Scratch() int {
	p, width := l.walk.Problem, l.width(mostItems)
	bytes := scratch.Bytes[float32](width, width, width, width, width, width, piece*width, piece*width, piece, piece)
	for _, channels := range [2]int64{p.HeadDim, p.ValueDim} {
		items, copies := width*l.padded(int(channels)), piece*l.padded(int(channels))
		bytes += scratch.Bytes[float32](items, items, items, copies)
	}
	most := l.padded(int(max(p.HeadDim, p.ValueDim)))
	return bytes + scratch.Bytes[float32](piece*most, width*most)
}

// Serves implements engine.Plan. The pass of all gradients requires that all are wanted.
func (l *plan) Serves(run *walk.Run) bool {
	return !l.scatters() || run.AllGradients()
}

// Partial implements engine.Plan.
func (l *plan) Partial() bool { return l.scatters() }

// Worker implements engine.Plan.
func (l *plan) Worker() engine.Worker {
	if w, ok := workers.Get().(*worker); ok {
		return w
	}
	return &worker{Memory: scratch.New()}
}
