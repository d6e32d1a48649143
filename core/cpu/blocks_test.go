// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/block"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
)

// prepared is a problem's runner.
func prepared(t testing.TB, p core.Problem) *runner {
	n, err := p.Normalize()
	require.NoError(t, err)
	r, err := New().Prepare(n)
	require.NoError(t, err)
	return r.(*runner)
}

// inBlocks reports whether all plans of a problem use the block engine.
func inBlocks(t testing.TB, p core.Problem) bool {
	r := prepared(t, p)
	for _, plan := range r.plans {
		if _, ok := plan.(*block.Plan); !ok {
			return false
		}
	}
	return len(r.plans) > 0 && strings.Contains(r.Variant(), "blocks of 2 x 2")
}

// withTwins runs a test with the Go versions of the kernels for quads, for all vector widths.
// They run on any processor.
func withTwins(t *testing.T, f func(t *testing.T)) {
	if kern.Active() == nil {
		t.Skip("portable kernels")
	}
	for _, lanes := range []int{4, 8, 16} {
		t.Run(fmt.Sprintf("%d lanes", lanes), func(t *testing.T) {
			changed := *kern.Active()
			changed.Block, changed.Stencil = kern.BlockTwins(lanes), nil
			defer kern.Replace(&changed)()
			f(t)
		})
	}
}

func TestBlocksAreChosen(t *testing.T) {
	withTwins(t, func(t *testing.T) {
		p := plain(core.AttnForward, []int64{32, 32}, []int64{7, 7}, 4, 64)
		require.True(t, inBlocks(t, p))
		p.Op = core.AttnBackward
		require.True(t, inBlocks(t, p))
		for name, change := range map[string]func(p *core.Problem){
			"one row":           func(p *core.Problem) { p.Axes[0].Kernel = 1 },
			"one lane":          func(p *core.Problem) { p.Axes[1].Kernel = 1 },
			"wide windows":      func(p *core.Problem) { p.Axes[1] = core.Axis{Length: 64, Kernel: 33} },
			"additional tokens": func(p *core.Problem) { p.Extra = 1 },
			"tokens, forward":   func(p *core.Problem) { p.Op, p.Extra = core.AttnForward, 1 },
			"stride":            func(p *core.Problem) { p.Axes[0].Stride = 2 },
			"query step":        func(p *core.Problem) { p.Axes[1].QueryStep = 2 },
			"double":            func(p *core.Problem) { p.DType = core.Float64 },
			"split operations":  func(p *core.Problem) { p.Op = core.QKForward },
		} {
			q := p
			change(&q)
			require.False(t, inBlocks(t, q), name)
		}
	})
}

// randomBlocks draws a problem that the block engine computes.
func randomBlocks(t testing.TB, r *rand.Rand) (p core.Problem, sizes []int64) {
	for {
		p = core.Problem{Op: []core.Op{core.AttnForward, core.AttnBackward}[r.IntN(2)], DType: dtypes[r.IntN(3)], Rank: 2 + r.IntN(2), Batch: 1 + r.Int64N(2)}
		p.KVHeads, p.RPB = 1+r.Int64N(2), r.IntN(3) == 0
		p.Heads = p.KVHeads * (1 + r.Int64N(3))
		p.HeadDim, p.ValueDim = 1+r.Int64N(9), 1+r.Int64N(9)
		switch r.IntN(12) {
		case 0:
			p.HeadDim, p.ValueDim = 16*(1+r.Int64N(4)), 16*(1+r.Int64N(8))
		case 1:
			p.HeadDim, p.ValueDim = 1+r.Int64N(70), 1+r.Int64N(70)
		}
		longest := []int64{0, 9, 5}[p.Rank-1]
		for i := range p.Rank {
			a := core.Axis{Length: 2 + r.Int64N(longest), Dilation: 1, Causal: r.IntN(3) == 0}
			if i == p.Rank-1 && r.IntN(5) == 0 { // several tiles
				a.Length += 30 + r.Int64N(40)
			}
			if r.IntN(3) == 0 {
				a.Dilation = 1 + r.Int64N(max(a.Length/2, 1))
			}
			a.Kernel = 1 + r.Int64N(min(a.Length/a.Dilation, 7))
			if r.IntN(8) == 0 {
				a.Kernel = 1 + r.Int64N(min(a.Length/a.Dilation, 17))
			}
			p.Axes[i] = a
		}
		sizes = sizes[:0]
		if p.Ragged = r.IntN(4) == 0; p.Ragged {
			for range p.Batch {
				for i := range p.Rank {
					least := p.Axes[i].Kernel * p.Axes[i].Dilation
					sizes = append(sizes, least+r.Int64N(p.Axes[i].Length-least+1))
				}
			}
		}
		if inBlocks(t, p) {
			return p, sizes
		}
	}
}

func needQuads(t *testing.T) {
	if kern.Active() == nil || kern.Active().Block == nil {
		t.Skip("no kernels for quads")
	}
}

func checkBlocks(t testing.TB, seed uint64) {
	r := rand.New(rand.NewPCG(31, seed))
	p, sizes := randomBlocks(t, r)
	odd := r.IntN(2) == 0
	tr := newTrial(t, r, p, sizes, odd)
	for _, role := range outputsOf[p.Op] {
		tr.skip[role] = role != core.Out && r.IntN(4) == 0
	}
	tr.check(t, r, odd, fmt.Sprintf("seed %d: %+v sizes %v", seed, p, sizes))
}

func TestBlocksEqualReference(t *testing.T) {
	t.Run("twins", func(t *testing.T) {
		withTwins(t, func(t *testing.T) {
			for seed := range fewer(40) {
				checkBlocks(t, uint64(seed))
			}
		})
	})
	needQuads(t)
	for seed := range fewer(400) {
		checkBlocks(t, uint64(seed))
	}
}

// Includes keys that are near both ends of the axis in a short sample, but not in the longest.
func TestBlocksOfShortSamples(t *testing.T) {
	withTwins(t, func(t *testing.T) { checkBlocks(t, 5085) })
}

// Panels too small for all planes and query heads of an inverse walk, which then uses slabs.
func TestSlabsEqualReference(t *testing.T) {
	given := block.PanelBytes
	block.PanelBytes = 1 << 15
	defer func() { block.PanelBytes = given }()
	withTwins(t, func(t *testing.T) {
		slabs := 0
		for seed := uint64(0); slabs < 10; seed++ {
			p, _ := randomBlocks(t, rand.New(rand.NewPCG(31, seed)))
			if plans := prepared(t, p).plans; plans[len(plans)-1].(*block.Plan).Slabs() {
				checkBlocks(t, seed)
				slabs++
			}
		}
	})
}

func FuzzBlocks(f *testing.F) {
	if kern.Active() == nil || kern.Active().Block == nil {
		f.Skip("no kernels for blocks")
	}
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { checkBlocks(t, seed) })
}

// Where panels of quads exceed their usual limit, forward passes take larger ones rather than
// stream keys, which takes twice the time.
func TestLargeWindowsStayInQuads(t *testing.T) {
	needQuads(t)
	p := plain(core.AttnForward, []int64{12, 22, 22}, []int64{11, 11, 11}, 1, 64)
	require.Contains(t, prepared(t, p).Variant(), "blocks of 2 x 2")
	p.Axes[0].Length, p.Axes[0].Kernel = 64, 63
	require.NotContains(t, prepared(t, p).Variant(), "blocks of 2 x 2")
}
