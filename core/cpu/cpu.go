// SPDX-License-Identifier: MIT

// Package cpu runs problems on the processor's cores: the backend "native".
//
// A problem is computed in passes (walk.Pass), each of which produces some of the outputs:
// fused attention takes one pass, its gradients one or two, and the gradients of additional
// tokens another. A pass is computed by the first engine in [engines] whose Prepare accepts it
// (see prepare in runner.go); otherwise Prepare returns the reason.
//
//	engine   takes                                          kernels            how it works
//	strip    fused attention, windows of one row of up to   all, portable too  rows are read where the tensors have
//	         64 keys, no bias, no additional tokens                            them: no packing, no reuse
//	stencil  the forward pass in float32, windows of        all                the same, for windows of several rows
//	         several rows of up to 32 keys, 16, 32, 64 or
//	         128 channels
//	block    fused attention, windows of several rows of    all                packs keys once per column of tiles; 2 x 2
//	         several keys, no down-sampling, sums in                           items share what is loaded; one pass can
//	         float32, no additional tokens                                     give all gradients
//	flash    fused attention, windows with rows of more     all               a matrix product of a tile of items and
//	         than 64 keys or of all of the input, sums in                      the union of their windows, part of which
//	         float32, no bias                                                  is masked; keys are not packed; one pass can
//	                                                                           give all gradients
//	panel    every pass                                     all, portable too  packs keys once per column of tiles; pairs
//	                                                                           of items share what is loaded
//
// A run is a job of numbered tasks (sched.Job) in stages: one stage for each walk that a given
// output needs, or one for each color of a walk. Goroutines take tasks in order; when none is
// left they steal rows from goroutines that are still busy. Results do not depend on the number
// of goroutines: no two tasks write the same memory, except where neighboring chunks share keys
// and partial sums form d_rpb, and those are added up in a fixed order.
//
// The gradients of a key are summed over all query heads of its key head's group. The engines
// panel, block and flash sum all heads of the group before they store (Walk.Stacked) or, if
// Walk.Apart, process one head at a time and add each head after the first to the stored
// gradients (Cursor.Adds, kern.Rows.Add). Strips add the heads in sumQueries. The passes
// of all gradients of block and flash add all heads to one sum (storeScattered, scatter).
//
//	cpu         this package: the list of engines, runner.go (a prepared problem), zero.go and prefault.go (outputs)
//	engine      the interface between this package and an engine: Engine, Plan, Worker
//	panel, strip, block, stencil, flash   the engines: plan.go (decisions), worker.go (state of one goroutine)
//	walk        enumerates items, finds what they meet, locates them in the caller's tensors, divides them into tasks
//	kern        kernels for each instruction set, with one contract per kernel; abi has what Go and assembly share
//	sched       the pool of goroutines, work stealing, prefaulting; knows nothing about attention
//
// Imports go one way: cpu, the engines, engine, walk, then kern and sched. No engine imports
// another.
//
// Terms, each defined by the ones before it:
//
//	axis        of the token layout; 0 is the slowest and 2 the fastest. Axes 0 and 1 are the slow axes
//	class       one residue modulo the dilation per axis: a dilation group, which contains whole windows
//	item        what is computed: a query (of one query head) or, in an inverse walk, a key
//	to meet     a query meets the keys of its window; a key meets the queries whose windows contain it
//	key         in panel and block: whatever items meet, which in an inverse walk is a query
//	lane        the position of a key along the fastest axis; neighboring keys share a SIMD vector
//	tile        neighboring items along the fastest axis
//	row         the items, or the keys, at one position of the slow axes
//	column      a tile in all rows of a task, which are processed in order
//	plane       the rows at one position of axis 0
//	slot        the part of a panel that holds a packed row of keys; elsewhere an index into a row of attn
//	member      a query head of a key head's group
//	quad        2 x 2 items of the block engine: two neighbors in two neighboring rows
//	group       1, 2 or 4 neighboring rows of keys whose lanes share a vector in the block engine
//	stretch     neighboring items of a strip whose windows have equal length and equal distances
//	QK, VO      the channels of queries and keys; the channels of values and outputs
//	delta       d_out . out - d_lse: the term that the gradients of all logits of a query share
//	bin         a partial sum of d_rpb
//	color       parity of the index of a chunk of rows: chunks of one color share no keys
package cpu

import (
	"strings"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/block"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/flash"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/panel"
	"github.com/natten-mps/natten-mps/core/cpu/internal/stencil"
	"github.com/natten-mps/natten-mps/core/cpu/internal/strip"
)

type backend struct{}

// New returns the CPU backend, "native".
func New() core.Backend { return backend{} }

func (backend) Name() string { return "native" }

func (backend) Available() (bool, string) {
	return true, kern.Details()
}

func (backend) Unsupported(p *core.Problem) []string {
	if p.Memory != core.Host {
		return []string{"memory is not the host's"}
	}
	return nil
}

func (b backend) Prepare(p *core.Problem) (core.Runner, error) {
	if why := b.Unsupported(p); len(why) > 0 {
		return nil, core.Errorf(core.Unsupported, "native: %s", strings.Join(why, "; "))
	}
	return newRunner(p), nil
}

// engines lists the engines by precedence: the first that takes a pass computes it.
var engines = []engine.Engine{strip.Engine{}, stencil.Engine{}, block.Engine{}, flash.Engine{}, panel.Engine{}}
