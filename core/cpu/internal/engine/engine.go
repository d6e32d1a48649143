// SPDX-License-Identifier: MIT

// Package engine defines the interface between package cpu and its engines, the different ways
// to compute a pass.
package engine

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

// Engine is one way to compute passes.
type Engine interface {
	// Name is the engine's name in the table of package cpu.
	Name() string
	// Prepare is called once per pass of a problem, unless an earlier engine in the list took
	// the pass. It makes all decisions, and returns a plan or the reason why the engine does not
	// take the pass. kernels are the float32 kernels of the processor, or nil if only portable
	// Go is available.
	Prepare(p *core.Problem, pass walk.Pass, kernels *kern.Set) (plan Plan, why string)
}

// Plan is a pass with all decisions made. Several runs may use it concurrently.
type Plan interface {
	// Walk returns the items to visit and how they are divided into tasks.
	Walk() *walk.Walk
	// Variant describes the plan to people. It follows the name of the instruction set.
	Variant() string
	// Scratch is the number of bytes of scratch memory per worker.
	Scratch() int
	// Serves reports whether the plan, for a pass that can replace all passes of an operation,
	// produces the outputs wanted in this run. It is called in every run.
	Serves(run *walk.Run) bool
	// Partial reports whether Serves may return false. Plans for the separate passes are then
	// prepared as well.
	Partial() bool
	// Worker returns a worker, possibly from a pool. It is called when a goroutine begins its
	// first task of a stage.
	Worker() Worker
}

// Worker is the state of one goroutine in the stages of a run.
type Worker interface {
	// Begin is called before the worker's first task of a stage. During tasks the worker
	// publishes in rows those rows of a tile that it has not begun.
	Begin(plan Plan, run *walk.Run, s *walk.Stage, rows *sched.Stealable[walk.Rows])
	// Task executes the n-th task of the stage.
	Task(n int64)
	// Rows computes the rows [from, end) that another worker of the stage published.
	Rows(r *walk.Rows, from, end int)
	// Release returns the worker to its pool. It is called after the last task.
	Release()
	// Free releases the worker's memory. It is called instead of Release after a panic; the
	// worker is not used again.
	Free()
}
