// SPDX-License-Identifier: MIT

// Package stencil is the engine for forward attention with small windows, in one or several
// rows. Its kernels process the whole window of a query. They read the keys' channels directly
// from the tensors, at the offsets of a table.
package stencil

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
	tile      = 32      // positions
	leastWork = 1 << 18 // multiply-adds per task, which can be few as tasks pack nothing
	mostKeys  = 32      // largest window, in keys, for which not packing is faster
)

// Engine is the stencil engine.
type Engine struct{}

// Name implements engine.Engine.
func (Engine) Name() string { return "stencil" }

// Prepare implements engine.Engine.
func (Engine) Prepare(p *core.Problem, pass walk.Pass, kernels *kern.Set) (engine.Plan, string) {
	switch {
	case kernels == nil || kernels.Stencil == nil:
		return nil, "there are no kernels for stencils"
	case pass.Kind != walk.AttnOut || p.DType != core.Float32:
		return nil, "stencils are for float32, forward"
	case p.RPB || p.Extra > 0:
		return nil, "there is a bias or there are additional tokens"
	case p.WindowSize() > mostKeys:
		return nil, fmt.Sprintf("windows have more than %d keys", mostKeys)
	case vectorful(p.HeadDim, kernels) == 0 || vectorful(p.ValueDim, kernels) == 0:
		return nil, "channels are not 1, 2, 4 or 8 vectors"
	}
	return newPlan(p, pass, kernels), ""
}

// vectorful is the number of vectors per row of channels, or 0 if there is no kernel for it.
func vectorful(channels int64, kernels *kern.Set) int {
	lanes := int64(kernels.Stencil.Lanes)
	switch n := channels / lanes; n {
	case 1, 2, 4, 8:
		if n*lanes == channels {
			return int(n)
		}
	}
	return 0
}

// workers pools the idle workers of all plans.
var workers sync.Pool

// plan is a pass in stencils.
type plan struct {
	walk        *walk.Walk
	kernels     *kern.Set
	prefetchMet bool // prefetch keys; only if windows have one plane, as there are too many rows otherwise
}

// newPlan makes a plan. Tasks process all their heads in one row before the next row, as the
// heads are neighbors in memory.
func newPlan(p *core.Problem, pass walk.Pass, kernels *kern.Set) *plan {
	w := walk.New(p, pass)
	w.Member = 1
	w.ChooseTile(tile)
	w.CutTasks(walk.Cut{Largest: leastWork, Least: leastWork, Together: true})
	return &plan{w, kernels, p.Axes[0].Kernel == 1}
}

// Walk implements engine.Plan.
func (l *plan) Walk() *walk.Walk { return l.walk }

// Variant implements engine.Plan.
func (l *plan) Variant() string { return fmt.Sprintf(", stencils, strips of %d", l.walk.Tile) }

// Scratch implements engine.Plan.
func (l *plan) Scratch() int {
	positions := kern.Padded(l.walk.Tile)
	return scratch.Bytes[float32](l.walk.Tile*l.pitch(), positions, positions, positions)
}

// pitch is the number of weights per item: those of its window, in whole vectors.
func (l *plan) pitch() int {
	lanes := l.kernels.Stencil.Lanes
	return kern.CeilDiv(int(l.walk.Problem.WindowSize()), lanes) * lanes
}

// Serves implements engine.Plan.
func (l *plan) Serves(*walk.Run) bool { return true }

// Partial implements engine.Plan.
func (l *plan) Partial() bool { return false }

// Worker implements engine.Plan.
func (l *plan) Worker() engine.Worker {
	if w, ok := workers.Get().(*worker); ok {
		return w
	}
	return &worker{Memory: scratch.New()}
}
