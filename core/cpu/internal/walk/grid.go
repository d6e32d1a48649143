// SPDX-License-Identifier: MIT

package walk

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
)

// Grid divides a walk into tasks.
type Grid struct {
	Shape     [3]int // size of a task: positions on axes 0 and 1, tiles on axis 2
	Heads     int    // key heads, or parts of their groups, per task
	Counts    [6]int // tasks per dimension: batch, dilation class, axis 0, axis 1, axis 2, heads
	Tasks     int64  // product of Counts
	Parts     int    // number of partial sums of d_rpb
	Together  bool   // a task processes all its heads before it moves to the next row
	Colored   bool   // tasks with an even index on ColorAxis, its chunks, come first, as neighbors meet the same keys
	ColorAxis int
	Joinable  bool // results are the same if the chunks of a head are computed in order, as one task
}

// Cut limits the shape of tasks.
type Cut struct {
	Largest  float64 // multiply-adds at which a task stops growing
	Least    float64 // multiply-adds that suffice when the whole problem is small; 0 means TaskWork
	Pairs    bool    // rows are processed in pairs
	MostRows int     // limit on a task's rows along axis 1; 0 means no limit
	Together bool    // see Grid
}

// CutTasks makes the grid. Tasks grow along axis 1, then over heads, then along axes 2 and 0,
// until they are large enough.
func (w *Walk) CutTasks(c Cut) {
	p := w.Problem
	heads := int(p.KVHeads) * w.groupParts()
	tiles := kern.CeilDiv(w.Extent[2], max(w.Tile, 1))
	work := float64(w.Tile*w.Member) * float64(p.HeadDim+p.ValueDim) * float64(w.Widest[0]) * float64(w.Widest[1]) * float64(w.Widest[2])
	total := work * float64(int(p.Batch)*heads*tiles*w.Extent[1]*w.Extent[0])
	if c.Least == 0 {
		c.Least = TaskWork
	}
	goal := max(min(total/8, c.Largest), c.Least)
	w.Shape, w.Heads, w.Together = [3]int{1, 1, 1}, 1, c.Together
	if c.Pairs {
		w.Shape[1] = 2
		work *= 2
	}
	widen := func(n *int, limit int) {
		for *n < limit && work < goal {
			step := min(*n*2, limit)
			work *= float64(step) / float64(*n)
			*n = step
		}
	}
	if c.Together {
		widen(&w.Heads, heads)
	}
	rows := w.Extent[1]
	if c.MostRows > 0 {
		rows = min(rows, c.MostRows)
	}
	widen(&w.Shape[1], rows)
	if !w.bins() {
		widen(&w.Heads, heads)
	}
	widen(&w.Shape[2], tiles)
	widen(&w.Shape[0], w.Extent[0])
	w.Lay()
}

// CutHeads makes a grid of one task per sample, dilation group and key head.
func (w *Walk) CutHeads() {
	w.Heads, w.Shape = 1, [3]int{max(w.Extent[0], 1), max(w.Extent[1], 1), max(kern.CeilDiv(w.Extent[2], w.Tile), 1)}
	w.Lay()
}

// Lay sets the counts of the grid from the shape of a task.
func (w *Walk) Lay() {
	tiles := kern.CeilDiv(w.Extent[2], max(w.Tile, 1))
	w.count([6]int{
		int(w.Problem.Batch), w.Classes(), kern.CeilDiv(w.Extent[0], w.Shape[0]), kern.CeilDiv(w.Extent[1], w.Shape[1]),
		kern.CeilDiv(tiles, w.Shape[2]), kern.CeilDiv(int(w.Problem.KVHeads)*w.groupParts(), w.Heads),
	})
}

// Classes is the number of dilation groups that have queries.
func (w *Walk) Classes() int {
	if w.Pass.Tokens {
		return 1
	}
	a := &w.Problem.Axes
	return int(classes(&a[0]) * classes(&a[1]) * classes(&a[2]))
}

// classes is the number of residues of the queries of an axis: those of QueryFirst and of the
// queries that follow it.
func classes(a *core.Axis) int64 { return min(a.Dilation, a.Queries()) }

// count sets the number of tasks per dimension and what follows from it.
func (w *Walk) count(counts [6]int) {
	w.Counts, w.Tasks = counts, 1
	for _, n := range counts {
		w.Tasks *= int64(n)
	}
	w.Parts = int(min(16, max(w.Tasks/int64(max(counts[5], 1)), 1)))
}

// Colors is the number of colors: tasks of color 0 come before those of color 1.
func (w *Walk) Colors() int {
	if w.Colored {
		return 2
	}
	return 1
}

// chunks is the number of tasks along ColorAxis.
func (w *Walk) chunks() int { return w.Counts[2+w.ColorAxis] }

// Joins reports whether the chunks of a head should be one task, which packs the keys that two
// chunks share once. That is so if one or two goroutines then have equally many tasks; more of
// them, which may not be equally fast, need the smaller tasks.
func (w *Walk) Joins(threads int) bool {
	return w.Colored && w.Joinable && threads <= 2 && w.Tasks/int64(w.chunks())%int64(threads) == 0
}

// ofColor is the number of tasks of a color along ColorAxis.
func (w *Walk) ofColor(color int) int { return kern.CeilDiv(w.chunks()-color, 2) }

// Neighbors returns the tasks of color 0 that share keys with task n of color 1: first,
// first+step, ... below end.
func (w *Walk) Neighbors(n int64) (first, end, step int64) {
	step = 1
	for _, count := range w.Counts[3+w.ColorAxis:] {
		step *= int64(count)
	}
	evens, odds := int64(w.ofColor(0)), int64(w.ofColor(1))
	at, outer := n/step%odds, n/(step*odds)
	first = (outer*evens+at)*step + n%step
	return first, first + min(2, evens-at)*step, step
}

// Hands is the number of goroutines that can be kept busy by so many tasks, including by
// stealing their rows.
func (w *Walk) Hands(tasks int64) int64 {
	if w.Pass.Kind == AttnGradients || w.bins() {
		return tasks // their rows may not be stolen
	}
	return tasks * int64(max(min(w.Shape[1], w.Extent[1])/handRows, 1))
}

// handRows is the number of rows that justifies another goroutine.
const handRows = 4

// taskCount is the number of tasks of a color, or of all tasks if the walk has no colors.
func (w *Walk) taskCount(color int) int64 {
	if !w.Colored {
		return w.Tasks
	}
	return w.Tasks / int64(w.chunks()) * int64(w.ofColor(color))
}
