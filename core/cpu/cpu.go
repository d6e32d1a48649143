// SPDX-License-Identifier: MIT

// Package cpu runs problems on the processor's cores: the backend "native".
//
// A problem is computed in passes (walk.Pass), each of which gives some of its outputs:
// fused attention in one, its gradients in one or two. The first engine below that takes
// a pass has it; [engines] is that list, prepare of runner.go asks it, and an engine's Prepare says
// why it does not take a pass.
//
//	engine   takes                                          kernels            what it costs
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
//	         float32, no bias; two passes give the                             is masked; keys are not packed
//	         gradients
//	panel    every pass                                     all, portable too  packs keys once per column of tiles; pairs
//	                                                                           of items share what is loaded
//
// A run is a job of numbered tasks (sched.Job) in stages, one for each walk that a given
// output needs. A goroutine takes tasks as they come; when none is left it takes rows off
// those that are still at work. Results do not depend on the number of goroutines: a task
// writes what no other task of the job writes, and the sums that tasks share, those of
// d_rpb and of the keys between two chunks, are added up in a fixed order.
//
// The gradients of a key meet in its key head, from all query heads of the group: panel,
// block and flash sum all heads of the group before they store (Walk.Stacked) or, if
// Walk.Apart, take one head at a time, each after the first adding to what is stored
// (Cursor.Adds, kern.Rows.Add); strips add them in sumQueries; quads that give all gradients
// scatter to one sum (storeScattered).
//
//	cpu         this package: engines, runner.go (a prepared problem), zero.go, prefault.go (outputs)
//	engine      what this package asks of an engine: Engine, Plan, Worker
//	panel, strip, block, stencil, flash   the engines: plan.go (what is decided), worker.go (one goroutine)
//	walk        which items there are, what they meet, where they are in the caller's tensors, tasks
//	kern        kernels, one contract each, by instruction set; abi has what Go and assembly agree on
//	sched       the pool of goroutines, stealing of rows, prefaults; knows no attention
//
// They import one another in this order only, and no engine another one.
//
// Words, in the order in which they build on one another:
//
//	axis        of the token layout; 0 is the slowest and 2 the fastest. Axes 0 and 1 are the slow ones
//	class       a residue of the dilation on every axis: a dilation group, in which all of a window lies
//	item        what is computed: a query (of one query head) or, in the inverse walk, a key
//	to meet     a query meets the keys of its window, a key the queries whose windows it is in
//	key         in panel and block whatever items meet: queries in the inverse walk
//	lane        the place of a key along the fastest axis; as in SIMD, neighboring keys are taken together
//	tile        neighboring items along the fastest axis
//	row         what is at one place of the slow axes: of items, or of keys
//	column      a tile of all rows of a task, which are taken one after the other
//	plane       the rows at one place of axis 0
//	slot        where a row of keys is packed in a panel; elsewhere an index into a row of attn
//	member      a query head of a key head's group
//	quad        2 x 2 items of the block engine: two neighbors in two neighboring rows
//	group       of rows of keys, 1, 2 or 4, whose lanes share a vector of the block engine
//	stretch     items of a strip whose windows are equally long and equally far apart
//	QK, VO      the channels of queries and keys, and those of values and outputs
//	delta       d_out . out - d_lse: what all keys of a query share of its logits' gradients
//	bin         a partial sum of d_rpb
//	color      even or odd number of a chunk of rows: chunks of one color meet no key in common
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

// engines is where it is decided which engine runs: the first that takes a pass has it.
var engines = []engine.Engine{strip.Engine{}, stencil.Engine{}, block.Engine{}, flash.Engine{}, panel.Engine{}}
