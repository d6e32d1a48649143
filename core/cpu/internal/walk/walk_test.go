// SPDX-License-Identifier: MIT

package walk

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// item identifies one visit of a walk to an item.
type item struct {
	sample, class, n0, n1, n2 int
	kvHead, member            int
}

// visitor counts how often a walk visits each item.
type visitor struct {
	at   Cursor
	seen map[item]int
}

func (v *visitor) Plan(n, count int) { v.at.SetTile(n, count) }

func (v *visitor) Column(from, to [3]int) {
	heads := [][2]int{{v.at.KVHead, v.at.Member}}
	if w := v.at.Walk; w.Together {
		heads = nil
		for head := v.at.FirstHead; head < v.at.EndHead; head++ {
			heads = append(heads, [2]int{head / w.Group, head % w.Group})
		}
	}
	for n0 := from[0]; n0 < to[0]; n0++ {
		v.at.Publish(n0, from[1], to[1])
		for n1, _, ok := v.at.NextRows(1); ok; n1, _, ok = v.at.NextRows(1) {
			for i := range v.at.Positions {
				for _, head := range heads {
					v.seen[item{v.at.Sample, v.at.class, n0, n1, v.at.Index[2] + i, head[0], head[1]}]++
				}
			}
		}
	}
}

// items is the expected number of visits of a walk, computed from the lengths of the samples.
func items(w *Walk, sizes []int64) (count int) {
	p := w.Problem
	for sample := range p.Batch {
		one := 1
		for i, a := range p.SampleAxes(sizes, sample) {
			switch {
			case w.Pass.Tokens && i == 2:
				one *= int(p.Extra)
			case w.Pass.Tokens:
			case w.Pass.Kind.Inverse():
				one *= met(&a)
			default:
				one *= int(a.Outputs())
			}
		}
		count += one
	}
	heads := int(p.KVHeads) * w.turns()
	if !w.Pass.Kind.Inverse() {
		heads *= w.groupParts()
	}
	return count * heads
}

// met sums, over all dilation groups, the number of keys from the first to the last that a
// query sees; on an axis without ranges, all keys.
func met(a *core.Axis) (count int) {
	for residue := range a.Dilation {
		first, end := int64(0), int64(0)
		for out := range a.Outputs() {
			query := a.QueryFirst + out*a.QueryStep
			if w := a.Window(query); query%a.Dilation == residue {
				if end == 0 {
					first = w.Lo
				}
				end = w.Hi
			}
		}
		if !a.Ranged() {
			first, end = 0, a.GroupLength(residue)
		}
		count += int(end - first)
	}
	return count
}

// However a walk is divided, its tasks visit every item exactly once.
func TestTasksCoverItemsOnce(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(81, seed))
		given, sizes := conformance.Random(r)
		if seed%2 == 0 {
			given, sizes = conformance.RandomRanges(r)
		}
		p, err := given.Normalize()
		require.NoError(t, err)
		for _, pass := range Passes(p) {
			w := New(p, pass)
			cut := Cut{Largest: TaskWork, Pairs: r.IntN(2) == 0, MostRows: r.IntN(2) * 3}
			if cut.Together = !pass.Kind.Inverse() && r.IntN(3) == 0; cut.Together {
				w.Member = 1
			}
			w.ChooseTile(1 + r.IntN(8))
			w.CutTasks(cut)
			if r.IntN(3) > 0 { // small tasks
				w.Shape, w.Heads = [3]int{1 + r.IntN(3), 1 + r.IntN(3), 1 + r.IntN(3)}, 1+r.IntN(2)
				w.Lay()
			}
			run := Run{Problem: p, Sizes: sizes}
			for _, role := range pass.Outputs {
				if p.Writes(role) {
					run.Tensors[role].Base = 8
				}
			}
			s := w.Stage(&run, 0)
			require.Positive(t, s.Count+1-min(p.Batch, 1), "seed %d", seed)
			v, rows := visitor{seen: map[item]int{}}, sched.Stealable[Rows]{}
			v.at.Begin(&run, &s, &rows, false)
			for n := range s.Count {
				v.at.Task(n, &v)
			}
			for i, n := range v.seen {
				require.Equal(t, 1, n, "seed %d: %+v of %+v %+v", seed, i, *p, pass)
			}
			require.Len(t, v.seen, items(w, sizes), "seed %d: %+v %+v", seed, *p, pass)
		}
	}
}

// The two colors together contain every task.
func TestColorsCoverTasks(t *testing.T) {
	for chunks := 1; chunks < 9; chunks++ {
		w := &Walk{Problem: &core.Problem{}}
		w.Colored, w.ColorAxis = true, 1
		w.count([6]int{2, 3, 1, chunks, 1, 2})
		require.Equal(t, w.Tasks, w.taskCount(0)+w.taskCount(1))
		require.Equal(t, chunks, w.ofColor(0)+w.ofColor(1))
	}
}

// A task of color 0 counts as done when its own goroutine has finished it, so no other goroutine
// may have rows of it.
func TestRowsOfAllGradientsAreNotStolen(t *testing.T) {
	given := core.Problem{Op: core.AttnBackward, DType: core.Float32, Rank: 2, Batch: 1, Heads: 1, KVHeads: 1, HeadDim: 8, ValueDim: 8}
	given.Axes = [3]core.Axis{{Length: 40, Kernel: 3}, {Length: 5, Kernel: 3}}
	p, err := given.Normalize()
	require.NoError(t, err)
	whole, _ := Whole(p)
	for _, pass := range append(Passes(p), whole) {
		w := New(p, pass)
		w.Tile, w.Shape, w.Heads, w.Colored, w.ColorAxis = 5, [3]int{1, 20, 1}, 1, pass.Kind == AttnGradients, 1
		w.Lay()
		run := Run{Problem: p}
		run.Tensors[core.DQuery].Base, run.Tensors[core.DKey].Base = 8, 8
		s := w.Stage(&run, 0)
		var c publisher
		var rows sched.Stealable[Rows]
		var victims sched.Victims[Rows]
		victims.Add(&rows)
		c.at.Begin(&run, &s, &rows, false)
		c.at.Task(0, &c)
		_, _, _, stolen := victims.Steal()
		require.Equal(t, pass.Kind != AttnGradients, stolen, "%+v", pass)
	}
}

// publisher publishes the rows of the columns that a walk visits, and does not take them.
type publisher struct{ at Cursor }

func (p *publisher) Plan(n, count int)      { p.at.SetTile(n, count) }
func (p *publisher) Column(from, to [3]int) { p.at.Publish(from[0], from[1], to[1]) }

// Joined tasks are all chunks of a head, in order, up to the end of the sample.
func TestJoinedTasksAreChunksInOrder(t *testing.T) {
	given := core.Problem{Op: core.AttnBackward, DType: core.Float32, Rank: 2, Batch: 2, Heads: 3, KVHeads: 3, HeadDim: 8, ValueDim: 8, Ragged: true}
	given.Axes = [3]core.Axis{{Length: 22, Kernel: 3, Dilation: 2}, {Length: 5, Kernel: 3}}
	p, err := given.Normalize()
	require.NoError(t, err)
	pass, _ := Whole(p)
	w := New(p, pass)
	w.Tile, w.Shape, w.Heads, w.Colored, w.ColorAxis, w.Joinable = 5, [3]int{1, 4, 1}, 1, true, 1, true
	w.Lay()
	run := Run{Problem: p, Sizes: []int64{22, 5, 9, 5}}
	run.Tensors[core.DQuery].Base = 8
	s := w.Joined(&run)
	require.EqualValues(t, 12, s.Count)
	require.False(t, s.Waits())
	require.Equal(t, []bool{true, true, false}, []bool{w.Joins(1), w.Joins(2), w.Joins(3)})
	w.Joinable = false
	require.False(t, w.Joins(1))
	for task, want := range map[int64][][2]int{4: {{0, 4}, {4, 8}, {8, 11}}, 6: {{0, 4}, {4, 5}}} {
		var c columns
		c.at.Begin(&run, &s, new(sched.Stealable[Rows]), true)
		c.at.Task(task, &c)
		require.Equal(t, want, c.rows)
	}
}

// columns lists the rows of the columns that a walk visits.
type columns struct {
	at   Cursor
	rows [][2]int
}

func (c *columns) Plan(n, count int)      { c.at.SetTile(n, count) }
func (c *columns) Column(from, to [3]int) { c.rows = append(c.rows, [2]int{from[1], to[1]}) }

// The neighbors of a task of color 1 are the tasks just before and after it on the axis.
func TestNeighborsOfTasks(t *testing.T) {
	for axis := range 2 {
		for chunks := 1; chunks < 9; chunks++ {
			w := &Walk{Problem: &core.Problem{}}
			w.Colored, w.ColorAxis = true, axis
			counts := [6]int{2, 3, 2, 2, 1, 2}
			counts[2+axis] = chunks
			w.count(counts)
			numbers, inner, outer := map[[3]int]int64{}, []int{4, 2}[axis], []int{6, 12}[axis]
			var next [2]int64
			for o := range outer {
				for color := range 2 {
					for chunk := color; chunk < chunks; chunk += 2 {
						for i := range inner {
							numbers[[3]int{o, chunk, i}] = next[color]
							next[color]++
						}
					}
				}
			}
			for at, n := range numbers {
				if at[1]%2 == 0 {
					continue
				}
				var want, got []int64
				for _, chunk := range []int{at[1] - 1, at[1] + 1} {
					if even, ok := numbers[[3]int{at[0], chunk, at[2]}]; ok {
						want = append(want, even)
					}
				}
				for even, end, step := w.Neighbors(n); even < end; even += step {
					got = append(got, even)
				}
				require.Equal(t, want, got, "axis %d of %d chunks, %v", axis, chunks, at)
			}
		}
	}
}
