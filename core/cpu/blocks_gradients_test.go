// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/block"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/ref"
	"github.com/natten-mps/natten-mps/tests"
)

// wholePlan is the problem's plan for all gradients in quads, or nil.
func wholePlan(t testing.TB, p core.Problem) *block.Plan {
	r := prepared(t, p)
	l, _ := r.whole.(*block.Plan)
	require.Equal(t, l != nil, strings.Contains(r.Variant(), ", all gradients, blocks of 2 x 2"))
	return l
}

func TestAllGradientsAreChosen(t *testing.T) {
	withTwins(t, func(t *testing.T) {
		p := plain(core.AttnBackward, []int64{32, 32}, []int64{7, 7}, 4, 64)
		for name, change := range map[string]func(p *core.Problem){
			"many heads":                func(p *core.Problem) { p.Heads = 32 },
			"bias":                      func(p *core.Problem) { p.RPB = true },
			"float16":                   func(p *core.Problem) { p.DType = core.Float16 },
			"some channels":             func(p *core.Problem) { p.HeadDim = 60 },
			"float16 in three axes":     func(p *core.Problem) { *p = cube(core.Float16) },
			"ragged":                    func(p *core.Problem) { p.Ragged = true },
			"small problem of a head":   func(p *core.Problem) { p.Heads, p.Axes[0].Length, p.Axes[1].Length = 1, 10, 10 },
			"columns and a kernel of 1": func(p *core.Problem) { *p = cube(core.Float32); p.Axes[0].Kernel = 1 },
		} {
			q := p
			change(&q)
			w := wholePlan(t, q)
			require.NotNil(t, w, name)
			require.False(t, w.Walk().Colored, name)
		}
		for name, change := range map[string]func(p *core.Problem){
			"heads":          func(*core.Problem) {},
			"one head":       func(p *core.Problem) { p.Heads, p.Axes[0].Length, p.Axes[1].Length = 1, 48, 48 },
			"one key head":   func(p *core.Problem) { p.KVHeads = 1 },
			"large pictures": func(p *core.Problem) { p.Axes[0].Length, p.Axes[1].Length = 128, 128 },
			"volumes":        func(p *core.Problem) { *p = cube(core.Float32); p.Heads, p.Axes[0].Length = 1, 24 },
		} {
			q := p
			change(&q)
			w := wholePlan(t, q)
			require.NotNil(t, w, name)
			require.True(t, w.Walk().Colored, name)
		}
		for name, change := range map[string]func(p *core.Problem){
			"forward":                   func(p *core.Problem) { p.Op = core.AttnForward },
			"one row":                   func(p *core.Problem) { p.Axes[0].Kernel = 1 },
			"additional tokens":         func(p *core.Problem) { p.Extra = 1 },
			"double":                    func(p *core.Problem) { p.DType = core.Float64 },
			"float16 in several tiles":  func(p *core.Problem) { p.DType, p.Axes[1].Length = core.Float16, 200 },
			"some channels, two tiles":  func(p *core.Problem) { p.HeadDim, p.Axes[1].Length = 60, 200 },
			"float16 of one head":       func(p *core.Problem) { p.DType, p.Heads, p.Axes[0].Length = core.Float16, 1, 64 },
			"one head of few long rows": func(p *core.Problem) { p.Heads, p.Axes[0].Length, p.Axes[1].Length = 1, 14, 200 },
			"large groups":              func(p *core.Problem) { p.Heads, p.KVHeads = 66, 2 },
		} {
			q := p
			change(&q)
			require.Nil(t, wholePlan(t, q), name)
		}
	})
}

// cube is a problem with three axes whose panel holds all rows.
func cube(dtype core.DType) core.Problem {
	p := plain(core.AttnBackward, []int64{16, 16, 16}, []int64{3, 3, 3}, 4, 32)
	p.DType = dtype
	return p
}

// Runs the common test cases that the walk of all gradients takes.
func TestCasesOfAllGradients(t *testing.T) {
	withTwins(t, func(t *testing.T) {
		taken := map[string]bool{}
		for _, c := range tests.Cases() {
			taken[c.Name] = wholePlan(t, c.Problem(core.AttnBackward, core.Float32)) != nil
		}
		for _, name := range []string{"2d", "2d-rect", "2d-even", "2d-k7", "2d-full", "2d-dilated", "2d-causal", "2d-rpb", "2d-ragged", "2d-head-dim-64", "3d", "3d-dilated", "3d-causal", "3d-ragged"} {
			require.True(t, taken[name], name)
		}
		for _, name := range []string{"1d", "2d-kernel-1", "2d-stride", "2d-step", "2d-gqa-extra"} {
			require.False(t, taken[name], name)
		}
	})
}

// Chunks that are not neighbors share no keys.
func TestChunksAreApart(t *testing.T) {
	withTwins(t, func(t *testing.T) {
		r, colored := rand.New(rand.NewPCG(51, 52)), 0
		partAll(t)
		for colored < 100 {
			p, _ := tallBlocks(r)
			w := wholePlan(t, p)
			if w == nil || !w.Walk().Colored {
				continue
			}
			colored++
			a, size := p.Axes[w.Walk().ColorAxis+p.Rank-3], w.Walk().Shape[w.Walk().ColorAxis]
			for length := a.Kernel * a.Dilation; length <= a.Length; length++ {
				if !p.Ragged {
					length = a.Length
				}
				a := core.Axis{Length: length, Kernel: a.Kernel, Dilation: a.Dilation, Causal: a.Causal, Stride: 1, QueryStep: 1}
				for residue := range a.Dilation {
					l := walk.NewLine(a, residue)
					for key := range l.Keys {
						lo, hi := l.QueriesOf(key)
						require.LessOrEqual(t, (hi-1)/size-lo/size, 1, "%+v in chunks of %d: key %d", a, size, key)
					}
				}
			}
		}
	})
}

// partAll makes plans use chunks, however small, until the test ends.
func partAll(t *testing.T) {
	given := block.ChunkWork
	block.ChunkWork = 1
	t.Cleanup(func() { block.ChunkWork = given })
}

// tallBlocks draws a problem with few heads, whose rows are divided into chunks.
func tallBlocks(r *rand.Rand) (p core.Problem, sizes []int64) {
	p = core.Problem{Op: core.AttnBackward, DType: core.Float32, Rank: 2 + r.IntN(2), Batch: 1 + r.Int64N(2), KVHeads: 1, HeadDim: 8 * (1 + r.Int64N(3)), ValueDim: 8 * (1 + r.Int64N(3))}
	p.Heads, p.RPB = 1+r.Int64N(3), r.IntN(4) == 0
	lengths := [][]int64{{16 + r.Int64N(30), 4 + r.Int64N(75)}, {12 + r.Int64N(12), 2 + r.Int64N(6), 2 + r.Int64N(8)}}[p.Rank-2]
	for i, length := range lengths {
		a := core.Axis{Length: length, Dilation: 1, Causal: r.IntN(3) == 0}
		if r.IntN(3) == 0 {
			a.Dilation = 1 + r.Int64N(2)
		}
		a.Kernel = min(2+r.Int64N(4), a.Length/a.Dilation)
		p.Axes[i] = a
	}
	sizes = perhapsRagged(r, &p)
	return p, sizes
}

// perhapsRagged makes a problem ragged, with lengths of its samples that it returns, or not.
func perhapsRagged(r *rand.Rand, p *core.Problem) (sizes []int64) {
	if p.Ragged = r.IntN(4) == 0; p.Ragged {
		for range p.Batch {
			for i := range p.Rank {
				least := p.Axes[i].Kernel * p.Axes[i].Dilation
				sizes = append(sizes, least+r.Int64N(p.Axes[i].Length-least+1))
			}
		}
	}
	return sizes
}

// eachTall calls f with count trials whose walks are colored.
func eachTall(t *testing.T, count int, f func(tr *trial, r *rand.Rand, odd bool, name string)) {
	partAll(t)
	for seed := uint64(0); count > 0; seed++ {
		r := rand.New(rand.NewPCG(53, seed))
		p, sizes := tallBlocks(r)
		if w := wholePlan(t, p); w == nil || !w.Walk().Colored {
			continue
		}
		count--
		odd := r.IntN(2) == 0
		f(newTrial(t, r, p, sizes, odd), r, odd, fmt.Sprintf("seed %d: %+v sizes %v", seed, p, sizes))
	}
}

func TestChunksEqualReference(t *testing.T) {
	check := func(tr *trial, r *rand.Rand, odd bool, name string) {
		tr.skip[core.DRPB] = r.IntN(2) == 0
		tr.check(t, r, odd, name)
	}
	t.Run("twins", func(t *testing.T) {
		withTwins(t, func(t *testing.T) { eachTall(t, fewer(10), check) })
	})
	needQuads(t)
	eachTall(t, fewer(50), check)
}

// A query with a NaN affects the keys that it meets and no others.
func TestNotANumberStaysInItsWindow(t *testing.T) {
	check := func(tr *trial, r *rand.Rand, odd bool, name string) { staysInItsWindow(t, tr, r, odd, name) }
	t.Run("twins", func(t *testing.T) {
		withTwins(t, func(t *testing.T) { eachTall(t, fewer(4), check) })
	})
	needQuads(t)
	eachTall(t, fewer(20), check)
}

// staysInItsWindow makes elements of lse, and perhaps of d_out and the queries, NaN, and checks which
// gradients are NaN.
func staysInItsWindow(t *testing.T, tr *trial, r *rand.Rand, odd bool, name string) {
	for _, role := range []core.Role{core.Query, core.DOut, core.LSE}[r.IntN(3):] {
		a, n := tr.inputs[role], 0
		values := a.values()
		at := r.IntN(len(values))
		a.fill(func() float64 {
			n++
			if n-1 == at {
				return math.NaN()
			}
			return values[n-1]
		})
	}
	tr.skip[core.DRPB] = true
	want := tr.run(t, ref.New(), r, false)
	for role, a := range tr.run(t, New(), r, odd) {
		other := want[role].values()
		for i, v := range a.values() {
			if math.IsNaN(v) != math.IsNaN(other[i]) {
				require.Failf(t, "different", "%s: %v element %d is %v (want %v)", name, role, i, v, other[i])
			}
		}
	}
}

func TestAllGradientsDoNotDependOnThreads(t *testing.T) {
	needQuads(t)
	partAll(t)
	problems := []core.Problem{
		plain(core.AttnBackward, []int64{60, 70}, []int64{7, 6}, 1, 16),
		plain(core.AttnBackward, []int64{40, 12, 9}, []int64{5, 4, 3}, 1, 16),
		plain(core.AttnBackward, []int64{32, 32}, []int64{7, 7}, 8, 64),
		plain(core.AttnBackward, []int64{64, 40}, []int64{5, 5}, 4, 24),
		cube(core.BFloat16),
	}
	problems[1].Axes[0].Causal = true
	problems[2].KVHeads = 1
	problems[3].Axes[0].Dilation, problems[3].Axes[1].Dilation = 2, 3
	for i, p := range problems {
		require.NotNil(t, wholePlan(t, p), i)
		r := rand.New(rand.NewPCG(55, uint64(i)))
		tr := newTrial(t, r, p, nil, false)
		tr.threads = 1
		want := tr.run(t, New(), r, false)
		for _, threads := range []int{1, 2, 5} {
			tr.threads = threads
			for role, a := range tr.run(t, New(), r, false) {
				require.Equal(t, want[role].bytes(), a.bytes(), "problem %d, %v on %d threads", i, role, threads)
			}
		}
	}
}

// One goroutine computes the chunks of a head as one task, three compute them in two colors.
func TestJoinedChunksGiveTheSameBits(t *testing.T) {
	joined := 0
	check := func(tr *trial, r *rand.Rand, odd bool, name string) {
		tr.skip[core.DRPB] = true
		w := wholePlan(t, tr.p).Walk()
		require.False(t, w.Joins(3), name)
		if w.Joins(1) {
			joined++
		}
		tr.threads = 1
		want := tr.run(t, New(), r, odd)
		tr.threads = 3
		for role, a := range tr.run(t, New(), r, odd) {
			require.Equal(t, want[role].values(), a.values(), "%s: %v", name, role)
		}
	}
	t.Run("twins", func(t *testing.T) {
		withTwins(t, func(t *testing.T) { eachTall(t, fewer(4), check) })
	})
	require.Positive(t, joined)
	needQuads(t)
	eachTall(t, fewer(20), check)
}

// Every subset of the gradients agrees with the reference, whether the walk of all gradients
// or the separate walks produce it.
func TestSomeGradients(t *testing.T) {
	needQuads(t)
	partAll(t)
	p := plain(core.AttnBackward, []int64{40, 36}, []int64{5, 4}, 2, 16)
	p.RPB = true
	require.NotNil(t, wholePlan(t, p))
	for skipped := range 16 {
		r := rand.New(rand.NewPCG(57, uint64(skipped)))
		tr := newTrial(t, r, p, nil, false)
		for i, role := range []core.Role{core.DQuery, core.DKey, core.DValue, core.DRPB} {
			tr.skip[role] = skipped>>i&1 != 0
		}
		tr.check(t, r, false, fmt.Sprintf("without %v", tr.skip))
	}
}

// Panels so small that rows of keys are evicted with each plane of queries.
func TestPlanesEqualReference(t *testing.T) {
	given := block.PanelBytes
	defer func() { block.PanelBytes = given }()
	check := func(t *testing.T, count int) {
		for seed := uint64(0); count > 0; seed++ {
			r := rand.New(rand.NewPCG(59, seed))
			p, sizes := tallBlocks(r)
			block.PanelBytes = given
			w := wholePlan(t, p)
			if p.Rank < 3 || w == nil {
				continue
			}
			block.PanelBytes = w.Bytes() - 1
			if w = wholePlan(t, p); w == nil || w.WholeRows() {
				continue
			}
			count--
			odd := r.IntN(2) == 0
			newTrial(t, r, p, sizes, odd).check(t, r, odd, fmt.Sprintf("seed %d: %+v sizes %v", seed, p, sizes))
		}
	}
	t.Run("twins", func(t *testing.T) {
		withTwins(t, func(t *testing.T) { check(t, fewer(4)) })
	})
	needQuads(t)
	check(t, fewer(12))
}
