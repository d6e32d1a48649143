// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/flash"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/panel"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// flashEverywhere lets the flash engine take every pass that it can, until the test ends. It
// uses the processor's kernels or, if there are none, their Go versions.
func flashEverywhere(t *testing.T) {
	given := engines
	engines = []engine.Engine{flash.Engine{Everywhere: true}, panel.Engine{}}
	t.Cleanup(func() { engines = given })
	if k := kern.Active(); k == nil || k.Dense == nil {
		t.Skip("no kernels for matrix products")
	}
}

func TestFlashConformance(t *testing.T) {
	flashEverywhere(t)
	conformance.Run(t, conformance.Backend(New()))
}

func TestFlashOfRandomProblems(t *testing.T) {
	flashEverywhere(t)
	for seed := range uint64(fewer(2000)) {
		p, sizes := conformance.Random(rand.New(rand.NewPCG(7, seed)))
		conformance.Check(t, conformance.Backend(New()), p, sizes, int(seed))
	}
}

// Problems with long windows on the engines that Prepare chooses, with and without bias, causal
// masks and additional tokens.
func TestLongWindows(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	for n := range fewer(60) {
		p := core.Problem{
			Op: core.Op(1 + n%6), DType: conformance.DTypes[n/6%4], Rank: 1, Batch: 1, Heads: 2, KVHeads: 1 + int64(n%2), HeadDim: 16, ValueDim: 8,
			Extra: int64(n % 3), RPB: n%5 == 0 && n%6 < 4,
		}
		length := 100 + r.Int64N(250)
		p.Axes[0] = core.Axis{Length: length, Dilation: 1 + r.Int64N(2), Causal: r.IntN(3) == 0, QueryStep: 1 + r.Int64N(2)}
		p.Axes[0].Kernel = 65 + r.Int64N(length/p.Axes[0].Dilation)
		p.Axes[0].Kernel = min(p.Axes[0].Kernel, length/p.Axes[0].Dilation)
		p.Axes[0].Stride = 1 + r.Int64N(min(p.Axes[0].Kernel, 4))
		conformance.Check(t, conformance.Backend(New()), p, nil, n)
	}
}

func TestLongWindowsAllocateNothing(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool drops what it holds")
	}
	for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
		p := plain(op, []int64{400}, []int64{200}, 2, 16)
		p.Extra = 3
		run := timed(t, p, 1)
		run()
		require.Zero(t, testing.AllocsPerRun(20, run), "%v", op)
	}
}

// onePass lets one pass compute all gradients of long windows, however few tasks it has, until the
// test ends. It skips the test without kernels for matrix products.
func onePass(t *testing.T) {
	given := flash.FewestTasks
	flash.FewestTasks = 1
	t.Cleanup(func() { flash.FewestTasks = given })
	if k := kern.Active(); k == nil || k.Dense == nil {
		t.Skip("no kernels for matrix products")
	}
}

// denseGradients reports whether one pass of dense tiles computes all gradients of a problem.
func denseGradients(t *testing.T, p core.Problem) bool {
	return strings.Contains(prepared(t, p).Variant(), ", all gradients, dense tiles")
}

func TestGradientsOfLongWindowsAreChosen(t *testing.T) {
	onePass(t)
	p := plain(core.AttnBackward, []int64{300}, []int64{150}, 8, 16)
	require.True(t, denseGradients(t, p))
	flash.FewestTasks = 9
	require.False(t, denseGradients(t, p))
	p.Batch = 2
	require.True(t, denseGradients(t, p))
	for name, change := range map[string]func(p *core.Problem){
		"additional tokens": func(p *core.Problem) { p.Extra = 1 },
		"some queries":      func(p *core.Problem) { p.Axes[0].QueryStep = 2 },
		"float16":           func(p *core.Problem) { p.DType = core.Float16 },
		"some channels":     func(p *core.Problem) { p.ValueDim = 20 },
		"large groups":      func(p *core.Problem) { p.Heads, p.KVHeads, p.Batch = 33, 1, 9 },
		"bias":              func(p *core.Problem) { p.RPB = true },
		"short rows":        func(p *core.Problem) { p.Axes[0].Kernel = 64 },
	} {
		q := p
		change(&q)
		require.False(t, denseGradients(t, q), name)
	}
}

// longGradients draws a problem whose gradients one pass of dense tiles computes.
func longGradients(r *rand.Rand) (p core.Problem, sizes []int64) {
	p = core.Problem{
		Op: core.AttnBackward, DType: core.Float32, Rank: 1, Batch: 1 + r.Int64N(2), KVHeads: 1,
		HeadDim: 16 * (1 + r.Int64N(2)), ValueDim: 16 * (1 + r.Int64N(5)),
	}
	p.Heads = 1 + r.Int64N(2)
	p.Axes[0] = core.Axis{Length: 70 + r.Int64N(130), Dilation: 1, Causal: r.IntN(3) == 0}
	if r.IntN(3) == 0 {
		p.Rank = 2
		p.Axes[0], p.Axes[1] = core.Axis{Length: 3, Kernel: 1 + r.Int64N(3), Dilation: 1}, p.Axes[0]
	}
	a := &p.Axes[p.Rank-1]
	a.Kernel = 65 + r.Int64N(a.Length-65)
	if r.IntN(3) == 0 {
		a.Stride = 1 + r.Int64N(4)
	}
	if a.Length >= 130 && r.IntN(3) == 0 {
		a.Dilation, a.Kernel = 2, 65+r.Int64N(a.Length/2-64)
	}
	sizes = perhapsRagged(r, &p)
	return p, sizes
}

// eachLong calls f with count trials whose gradients one pass of dense tiles computes.
func eachLong(t *testing.T, count int, f func(tr *trial, r *rand.Rand, odd bool, name string)) {
	onePass(t)
	for seed := range uint64(count) {
		r := rand.New(rand.NewPCG(61, seed))
		p, sizes := longGradients(r)
		require.True(t, denseGradients(t, p), "%+v", p)
		odd := r.IntN(2) == 0
		f(newTrial(t, r, p, sizes, odd), r, odd, fmt.Sprintf("seed %d: %+v sizes %v", seed, p, sizes))
	}
}

func TestGradientsOfLongWindowsEqualReference(t *testing.T) {
	eachLong(t, fewer(8), func(tr *trial, r *rand.Rand, odd bool, name string) { tr.check(t, r, odd, name) })
}

// A query that is not finite affects the keys that it meets and no others.
func TestGradientsOfLongWindowsAreNotTainted(t *testing.T) {
	eachLong(t, fewer(4), func(tr *trial, r *rand.Rand, odd bool, name string) {
		staysInItsWindow(t, tr, r, odd, name)
		one := flash.FewestTasks
		flash.FewestTasks = math.MaxInt64
		require.False(t, denseGradients(t, tr.p), name)
		staysInItsWindow(t, tr, r, odd, name+" in two passes")
		flash.FewestTasks = one
	})
}

// Infinities and NaN in keys affect only the queries that see them.
func TestLongWindowsAreNotTainted(t *testing.T) {
	p := plain(core.AttnForward, []int64{500}, []int64{101}, 1, 16)
	n, err := p.Normalize()
	require.NoError(t, err)
	plan, err := core.NewPlan([]core.Backend{New()}, core.Auto, p)
	require.NoError(t, err)
	arrays := map[core.Role][]float32{}
	for _, role := range []core.Role{core.Query, core.Key, core.Value, core.Out} {
		arrays[role] = make([]float32, 500*16)
		for i := range arrays[role] {
			arrays[role][i] = float32(i*7919%1000)/1000 - 0.5
		}
	}
	run := func() []float32 {
		b := core.Buffers{Threads: 1}
		for role, a := range arrays {
			b.Tensors[role] = core.Tensor{Data: core.AddressOf(unsafe.Pointer(&a[0])), Strides: [6]int64{500 * 16, 16, 16, 1}}
		}
		require.NoError(t, plan.Run(&b))
		return slices.Clone(arrays[core.Out])
	}
	clean := run()
	arrays[core.Key][250*16], arrays[core.Value][260*16+3] = float32(math.NaN()), float32(math.Inf(1))
	tainted := run()
	for query := range int64(500) {
		w := n.Axes[2].Window(query)
		got, want := tainted[query*16:][:16], clean[query*16:][:16]
		switch {
		case w.Lo <= 250 && 250 < w.Hi:
			require.True(t, math.IsNaN(float64(got[0])), "query %d", query)
		case w.Lo <= 260 && 260 < w.Hi:
			require.True(t, math.IsInf(float64(got[3]), 1), "query %d", query)
			require.InDeltaSlice(t, want[:3], got[:3], 1e-5, "query %d", query)
		default:
			require.InDeltaSlice(t, want, got, 1e-5, "query %d", query)
		}
	}
}
