// SPDX-License-Identifier: MIT

// Package strip is the engine for fused attention whose windows are single rows of few
// keys. It processes strips: tiles whose kernels read channels directly from the tensors,
// because there is too little arithmetic to make packing worthwhile. One pass computes all
// gradients of a strip's positions.
package strip

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
	tile     = 32 // positions
	mostKeys = 64 // per window
)

// Engine is the strip engine.
type Engine struct{}

// Name implements engine.Engine.
func (Engine) Name() string { return "strip" }

// Prepare implements engine.Engine.
func (Engine) Prepare(p *core.Problem, pass walk.Pass, kernels *kern.Set) (engine.Plan, string) {
	if why := refuses(p, pass); why != "" {
		return nil, why
	}
	if p.DType == core.Float64 {
		return newPlan[float64](p, pass, nil, &doubles), ""
	}
	return newPlan[float32](p, pass, kernels, &singles), ""
}

// refuses returns why a pass cannot be computed in strips, or "".
func refuses(p *core.Problem, pass walk.Pass) string {
	a := &p.Axes
	switch {
	case pass.Kind != walk.AttnOut && pass.Kind != walk.AttnGradients:
		return "strips are for fused attention, and take all gradients in one pass"
	case a[0].Kernel*a[1].Kernel != 1:
		return "windows have several rows"
	case a[2].Kernel > mostKeys:
		return fmt.Sprintf("windows have more than %d keys", mostKeys)
	case p.RPB || p.Extra > 0:
		return "there is a bias or there are additional tokens"
	case pass.Kind == walk.AttnGradients && p.SkipsQueries():
		return "only some queries are computed"
	}
	return ""
}

// singles and doubles pool the idle workers of all plans.
var singles, doubles sync.Pool

// plan is a pass in strips.
type plan[T kern.Number] struct {
	walk    *walk.Walk
	kernels *kern.Set // nil: portable Go
	workers *sync.Pool
}

func newPlan[T kern.Number](p *core.Problem, pass walk.Pass, kernels *kern.Set, workers *sync.Pool) *plan[T] {
	w := walk.New(p, pass)
	w.Member = 1
	if pass.Kind == walk.AttnGradients {
		w.Member = w.Group
		w.ByKey, w.Extent = true, w.Met
	}
	w.ChooseTile(tile)
	w.CutTasks(walk.Cut{Largest: walk.TaskWork})
	return &plan[T]{w, kernels, workers}
}

// Walk implements engine.Plan.
func (l *plan[T]) Walk() *walk.Walk { return l.walk }

// Variant implements engine.Plan.
func (l *plan[T]) Variant() string { return fmt.Sprintf(", strips of %d", l.walk.Tile) }

// Scratch implements engine.Plan.
//
// Gradients need all queries that meet the tile's keys, and all keys that those queries meet.
// Each extends the tile by at most two kernel sizes on either side. Rows of channels need memory
// only if they are converted.
func (l *plan[T]) Scratch() int {
	p, kernel, queries := l.walk.Problem, int(l.walk.Problem.Axes[2].Kernel), l.walk.Tile
	if l.walk.Pass.Kind == walk.AttnGradients {
		queries = min(queries+4*kernel, l.walk.Extent[2])
	}
	keys, padded := min(queries+4*kernel, l.walk.Met[2]), kern.Padded(queries)
	weights := queries*kern.Padded(kernel) + keys + kern.Slack
	bytes := scratch.Bytes[T](weights, weights, padded, padded, padded, queries+8)
	if d, dv := kern.Padded(int(p.HeadDim)), kern.Padded(int(p.ValueDim)); !l.direct(int(p.HeadDim)) || !l.direct(int(p.ValueDim)) {
		depth := max(d, dv)
		bytes += scratch.Bytes[T](keys*depth, keys*depth, keys*depth, keys*depth, keys*depth)
		bytes += scratch.Bytes[T](l.walk.Tile*depth, l.walk.Tile*depth, l.walk.Tile*depth)
	}
	return bytes
}

// direct reports whether kernels can access rows of channels directly in the tensors.
func (l *plan[T]) direct(channels int) bool {
	return int(l.walk.Problem.DType.Size()) == kern.SizeOf[T]() && channels%8 == 0
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
