// SPDX-License-Identifier: MIT

// Package engine is what package cpu asks of an engine: of a way to compute passes.
package engine

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

// Engine is a way to compute passes.
type Engine interface {
	// Name is how the engine is called in the table of package cpu.
	Name() string
	// Prepare is called once for every problem that is prepared and every pass of it that
	// no engine before took. It takes all decisions, and returns a plan or why the engine
	// does not take the pass. kernels is nil for portable Go, and those of float32.
	Prepare(p *core.Problem, pass walk.Pass, kernels *kern.Set) (plan Plan, why string)
}

// Plan is a pass with all decisions taken. It may be in several runs at once.
type Plan interface {
	// Walk is what is walked, and in which tasks.
	Walk() *walk.Walk
	// Variant says how, in words for people, after the name of the instruction set.
	Variant() string
	// Scratch is the number of bytes that a worker holds.
	Scratch() int
	// Serves is asked in every run of a pass that gives all outputs of an operation: whether
	// this plan gives those that are wanted. One that may say no is Partial, and passes of
	// single outputs stand by for it.
	Serves(run *walk.Run) bool
	Partial() bool
	// Worker is called when a goroutine begins its first task of a plan of the engine. It
	// may come from a pool.
	Worker() Worker
}

// Worker is the state of one goroutine in the stages of a run.
type Worker interface {
	// Begin is called before the first task of each stage. The worker publishes the rows of
	// a tile that it has not begun in rows.
	Begin(plan Plan, run *walk.Run, s *walk.Stage, rows *sched.Stealable[walk.Rows])
	// Task does the n-th task of the stage.
	Task(n int64)
	// Rows does rows, from one up to another, that another worker of the stage published.
	Rows(r *walk.Rows, from, end int)
	// Release is called after the last task. It gives the worker back to its pool.
	Release()
	// Free is called instead when a task panicked: it gives back the worker's memory, and
	// nothing uses the worker any longer.
	Free()
}
