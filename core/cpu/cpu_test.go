// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

var (
	ops    = []core.Op{core.AttnForward, core.AttnBackward, core.QKForward, core.QKBackward, core.AVForward, core.AVBackward}
	dtypes = []core.DType{core.Float32, core.Float16, core.BFloat16, core.Float64}
)

// randomTrial draws a problem of a few thousand operations.
func randomTrial(t testing.TB, r *rand.Rand, odd bool) *trial {
	p := core.Problem{Op: ops[r.IntN(len(ops))], DType: dtypes[r.IntN(len(dtypes))], Rank: 1 + r.IntN(3), Batch: r.Int64N(3)}
	p.KVHeads = 1 + r.Int64N(3)
	p.Heads = p.KVHeads * (1 + r.Int64N(3))
	p.HeadDim, p.ValueDim = 1+r.Int64N(20), 1+r.Int64N(20)
	if r.IntN(4) == 0 {
		p.HeadDim = 60 + r.Int64N(80)
	}
	if r.IntN(3) == 0 {
		p.Extra = r.Int64N(40)
	}
	p.RPB = p.Op.UsesQK() && r.IntN(2) == 0
	if r.IntN(2) == 0 {
		p.Scale, p.HasScale = r.NormFloat64(), true
	}
	longest := []int64{120, 20, 9}[p.Rank-1]
	maskFirst := r.IntN(2) == 0
	for i := range p.Rank {
		length := 1 + r.Int64N(longest)
		a := core.Axis{Length: length, Dilation: 1, Stride: 1, QueryStep: 1, MaskFirst: maskFirst, Causal: r.IntN(3) == 0}
		if r.IntN(3) == 0 {
			a.Dilation = 1 + r.Int64N(min(length, 5))
		}
		a.Kernel = 1 + r.Int64N(length/a.Dilation)
		if r.IntN(3) > 0 {
			a.Kernel = min(a.Kernel, 1+r.Int64N(9))
		}
		if r.IntN(4) == 0 {
			a.Stride = 1 + r.Int64N(a.Kernel)
		}
		if r.IntN(4) == 0 {
			a.QueryStep = 1 + r.Int64N(4)
		}
		p.Axes[i] = a
	}
	var sizes []int64
	if p.Ragged = r.IntN(4) == 0; p.Ragged {
		for range p.Batch {
			for i := range p.Rank {
				least := p.Axes[i].Kernel * p.Axes[i].Dilation
				sizes = append(sizes, least+r.Int64N(p.Axes[i].Length-least+1))
			}
		}
	}
	tr := newTrial(t, r, p, sizes, odd)
	for _, role := range outputsOf[p.Op] {
		optional := role != core.Out && role != core.Attn
		tr.skip[role] = optional && r.IntN(4) == 0
	}
	return tr
}

func checkRandom(t testing.TB, a, b uint64) {
	r := rand.New(rand.NewPCG(a, b))
	odd := r.IntN(2) == 0
	tr := randomTrial(t, r, odd)
	tr.check(t, r, odd, fmt.Sprintf("seed %d %d: %+v sizes %v", a, b, tr.p, tr.sizes))
}

func TestRandomProblemsEqualReference(t *testing.T) {
	for i := range fewer(500) {
		checkRandom(t, 1, uint64(i))
	}
}

func FuzzRun(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) { checkRandom(t, a, b) })
}

// timed returns a function that runs the problem once, for repeated use.
func timed(t testing.TB, p core.Problem, threads int) func() {
	r := rand.New(rand.NewPCG(3, 4))
	tr := newTrial(t, r, p, nil, false)
	return tr.prepare(t, threads)
}

func (tr *trial) prepare(t testing.TB, threads int) func() {
	n, err := tr.p.Normalize()
	require.NoError(t, err)
	plan, err := core.NewPlan([]core.Backend{New()}, core.Auto, tr.p)
	require.NoError(t, err)
	given := core.Buffers{Sizes: tr.sizes, Threads: threads}
	for role, a := range tr.inputs {
		given.Tensors[role] = a.tensor()
	}
	r := rand.New(rand.NewPCG(5, 6))
	var outputs []*array
	for _, role := range outputsOf[tr.p.Op] {
		if used(n, role) {
			outputs = append(outputs, newArray(r, n, role, false, false))
			given.Tensors[role] = outputs[len(outputs)-1].tensor()
		}
	}
	b := new(core.Buffers)
	return func() {
		*b = given
		require.NoError(t, plan.Run(b))
		runtime.KeepAlive(tr.inputs)
		runtime.KeepAlive(outputs)
	}
}

func plain(op core.Op, lengths, kernel []int64, heads, depth int64) core.Problem {
	p := core.Problem{Op: op, DType: core.Float32, Rank: len(lengths), Batch: 1, Heads: heads, HeadDim: depth}
	for i := range lengths {
		p.Axes[i] = core.Axis{Length: lengths[i], Kernel: kernel[i]}
	}
	return p
}

func TestRunsAllocateNothing(t *testing.T) {
	if raceDetector {
		t.Skip("scratch memory does not stay in its pool")
	}
	length := int64(24)
	if testing.Short() {
		length = 12
	}
	for _, op := range ops {
		p := plain(op, []int64{length, length}, []int64{5, 5}, 4, 16)
		p.RPB = op.UsesQK()
		p.Extra = 3
		allocatesNothing(t, p)
	}
	partAll(t)
	for _, heads := range []int64{1, 32} { // the walk of all gradients, with and without colors
		p := plain(core.AttnBackward, []int64{40, 24}, []int64{5, 5}, heads, 16)
		l := wholePlan(t, p)
		require.True(t, kern.Active() == nil || kern.Active().Block == nil || l != nil && l.Walk().Colored == (heads == 1))
		allocatesNothing(t, p)
	}
}

func allocatesNothing(t *testing.T, p core.Problem) {
	runs := fewer(20)
	for threads := range 3 {
		run := timed(t, p, threads+1)
		// A goroutine that is late may once allocate another set of scratch memory.
		allocs := 1.0
		for try := 0; try < 10 && allocs > 0; try++ {
			allocs = testing.AllocsPerRun(runs, run)
		}
		require.Zero(t, allocs, "%v on %d threads", p.Op, threads+1)
	}
}

// Scratch memory must not grow with windows that span the whole input.
func TestScratchIsBounded(t *testing.T) {
	for _, op := range ops {
		small, err := plain(op, []int64{1000}, []int64{1000}, 1, 16).Normalize()
		require.NoError(t, err)
		large, err := plain(op, []int64{1000000}, []int64{1000000}, 1, 16).Normalize()
		require.NoError(t, err)
		a, err := New().Prepare(small)
		require.NoError(t, err)
		b, err := New().Prepare(large)
		require.NoError(t, err)
		require.Equal(t, a.ScratchBytes(), b.ScratchBytes(), "%v", op)
		require.Less(t, b.ScratchBytes(), int64(8<<20)*int64(runtime.GOMAXPROCS(0)), "%v", op)
	}
}

func TestResultsDoNotDependOnThreads(t *testing.T) {
	for _, op := range ops {
		p := plain(op, []int64{30, 20}, []int64{6, 5}, 2, 24)
		p.RPB = op.UsesQK()
		p.Axes[0].Causal = true
		r := rand.New(rand.NewPCG(7, 8))
		tr := newTrial(t, r, p, nil, false)
		tr.threads = 1
		want := tr.run(t, New(), r, false)
		tr.threads = 3
		got := tr.run(t, New(), r, false)
		for role, a := range want {
			require.Equal(t, a.bytes(), got[role].bytes(), "%v %v", op, role)
		}
	}
}

func TestLongAxesMatch(t *testing.T) {
	kernels := []int64{37, 150, 400}
	if testing.Short() {
		kernels = kernels[:1]
	}
	for _, op := range ops {
		for _, kernel := range kernels {
			p := plain(op, []int64{400}, []int64{kernel}, 2, 40)
			p.RPB = op.UsesQK()
			r := rand.New(rand.NewPCG(9, 9))
			tr := newTrial(t, r, p, nil, false)
			tr.check(t, r, false, fmt.Sprintf("%v kernel %d", op, kernel))
		}
	}
}

// Query heads of one key head add to the same gradients.
func TestGroupedGradients(t *testing.T) {
	for i, op := range []core.Op{core.AttnBackward, core.QKBackward, core.AVBackward} {
		for _, dtype := range dtypes {
			p := plain(op, []int64{13, 21}, []int64{5, 4}, 6, 16)
			p.DType, p.KVHeads, p.ValueDim, p.Batch = dtype, 2, 8, 2
			p.Axes[1].Dilation = 2
			p.Axes[0].QueryStep = 1 + int64(i)
			n, err := p.Normalize()
			require.NoError(t, err)
			require.Equal(t, dtype == core.Float32 || dtype == core.Float64, walk.New(n, walk.Passes(n)[0]).Apart())
			for _, odd := range []bool{false, true} {
				r := rand.New(rand.NewPCG(41, uint64(i)))
				newTrial(t, r, p, nil, odd).check(t, r, odd, fmt.Sprintf("%v %v odd=%v", op, dtype, odd))
			}
		}
	}
}

func TestMemoryOfAGPU(t *testing.T) {
	p, err := plain(core.AttnForward, []int64{8}, []int64{3}, 1, 8).Normalize()
	require.NoError(t, err)
	require.Empty(t, New().Unsupported(p))
	p.Memory = core.Metal
	require.Equal(t, []string{"memory is not the host's"}, New().Unsupported(p))
	_, err = New().Prepare(p)
	require.ErrorContains(t, err, "native: memory is not the host's")
}
