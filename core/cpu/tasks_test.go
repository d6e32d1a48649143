// SPDX-License-Identifier: MIT

package cpu

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/tests"
)

// manyCores returns the problems whose time on many cores matters: the rows of the benchmark
// table and some more.
func manyCores() []tests.Case {
	return append(tests.Bench(),
		square("2d-128x128-k13-b4-h8", 4, 8, 64, []int64{128, 128}, 13), square("3d-32x32x32-k7-h4", 1, 4, 64, []int64{32, 32, 32}, 7),
		square("1d-l65536-k13-h8", 1, 8, 64, []int64{65536}, 13), square("2d-256x256-k9-h1", 1, 1, 64, []int64{256, 256}, 9),
		square("2d-56x56-k7-d32-b32-h2", 32, 2, 32, []int64{56, 56}, 7))
}

// speedup is the ideal speedup of so many goroutines over one. It assumes that a task's time is
// proportional to its items and that stealing rows is free. Tasks go in order to the next free
// goroutine, and tasks of color 1 start after their neighbors.
func speedup(w *walk.Walk, threads int) float64 {
	free, total := make([]float64, threads), 0.0
	ends := map[int64]float64{}
	for color := range w.Colors() {
		tasks := w.Stage(everything(w), color).Count
		for n := range tasks {
			work, start := taskWork(w, color, n), 0.0
			if color == 1 {
				for at, end, step := w.Neighbors(n); at < end; at += step {
					start = max(start, ends[at])
				}
			}
			parts := int(w.Hands(tasks) / tasks)
			for range parts {
				first := slices.Index(free, slices.Min(free))
				free[first] = max(free[first], start) + work/float64(parts)
				ends[n] = max(ends[n], free[first])
			}
			total += work
		}
	}
	return total / slices.Max(free)
}

// everything is a run in which every tensor is given, so that all outputs are wanted.
func everything(w *walk.Walk) *walk.Run {
	u := &walk.Run{Problem: w.Problem}
	var x [1]float32
	for role := range core.NumRoles {
		u.Tensors[role] = walk.NewTensor(core.Tensor{Data: kern.AddressOf(&x[0])}, core.Float32)
	}
	return u
}

// taskWork is the number of items of a task.
func taskWork(w *walk.Walk, color int, n int64) float64 {
	counts, at := w.Counts, [6]int{}
	if w.Colored {
		counts[2+w.ColorAxis] = (counts[2+w.ColorAxis] + 1 - color) / 2
	}
	for i := 5; i >= 0; i-- {
		at[i] = int(n % int64(counts[i]))
		n /= int64(counts[i])
	}
	if w.Colored {
		at[2+w.ColorAxis] = color + 2*at[2+w.ColorAxis]
	}
	items, heads := 1, int(w.Problem.KVHeads)
	for a := range 3 {
		size := w.Shape[a]
		if a == 2 {
			size *= w.Tile
		}
		items *= max(min(size, w.Extent[a]-at[2+a]*size), 0)
	}
	return float64(items * min(w.Heads, heads-at[5]*w.Heads))
}

// short is the number of multiply-adds of a forward pass up to which forward and backward
// together take one core less than about 3 ms.
const short = 1 << 24

// There are enough tasks for many cores, forward and backward.
func TestTasksAreEnoughForManyCores(t *testing.T) {
	if kern.Active() == nil || kern.Active().Block == nil {
		t.Skip("portable kernels")
	}
	for _, c := range manyCores() {
		for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
			p := c.Problem(op, core.Float32)
			n, err := p.Normalize()
			require.NoError(t, err)
			r := newRunner(n)
			plans := r.plans
			if r.whole != nil {
				plans = r.all()[:1]
			}
			for _, plan := range plans {
				w := plan.Walk()
				by8, by16, by32 := speedup(w, 8), speedup(w, 16), speedup(w, 32)
				t.Logf("%s %v%s: %d tasks, %.1f %.1f %.1f times quicker on 8, 16, 32 cores", c.Name, op, plan.Variant(), w.Tasks, by8, by16, by32)
				require.GreaterOrEqual(t, by16, by8, c.Name)
				least := 7.9
				if walk.MultiplyAdds(n) < short {
					least = 3.9
				}
				require.GreaterOrEqual(t, by8, least, c.Name)
			}
		}
	}
}
