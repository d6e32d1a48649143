// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
)

// withStencils runs a test with stencil kernels, in Go if the processor has none. It then has
// none for quads either, which randomBlocks needs.
func withStencils(t *testing.T, f func(t *testing.T)) {
	if kern.Active() == nil {
		t.Skip("portable kernels")
	}
	changed := *kern.Active()
	if changed.Stencil == nil {
		changed.Stencil, changed.Block = kern.StencilTwins(16), kern.BlockTwins(16)
	}
	defer kern.Replace(&changed)()
	f(t)
}

func variantOf(t *testing.T, p core.Problem) string { return prepared(t, p).Variant() }

func TestStencilsAreChosen(t *testing.T) {
	withStencils(t, func(t *testing.T) {
		p := plain(core.AttnForward, []int64{9, 9, 9}, []int64{3, 3, 3}, 2, 32)
		require.Contains(t, variantOf(t, p), "stencils")
		for name, change := range map[string]func(p *core.Problem){
			"many keys":         func(p *core.Problem) { p.Axes[0].Kernel = 4 },
			"one row":           func(p *core.Problem) { p.Axes[0].Kernel, p.Axes[1].Kernel = 1, 1 },
			"channels":          func(p *core.Problem) { p.HeadDim = 48 },
			"part of a vector":  func(p *core.Problem) { p.HeadDim = 36 },
			"value channels":    func(p *core.Problem) { p.ValueDim = 8 },
			"additional tokens": func(p *core.Problem) { p.Extra = 1 },
			"bias":              func(p *core.Problem) { p.RPB = true },
			"half":              func(p *core.Problem) { p.DType = core.Float16 },
			"backward":          func(p *core.Problem) { p.Op = core.AttnBackward },
		} {
			q := p
			change(&q)
			require.NotContains(t, variantOf(t, q), "stencils", name)
		}
	})
}

func TestStencilsEqualReference(t *testing.T) {
	withStencils(t, func(t *testing.T) {
		for seed := range fewer(150) {
			r := rand.New(rand.NewPCG(61, uint64(seed)))
			tr := randomStencil(t, r)
			odd := r.IntN(2) == 0
			again := newTrial(t, r, tr.p, tr.sizes, odd)
			again.check(t, r, odd, fmt.Sprintf("seed %d: %+v sizes %v", seed, tr.p, tr.sizes))
		}
	})
}

// randomStencil draws a problem that the stencil engine computes.
func randomStencil(t *testing.T, r *rand.Rand) *trial {
	for {
		p, sizes := randomBlocks(t, r)
		p.Op, p.DType, p.RPB = core.AttnForward, core.Float32, false
		p.HeadDim, p.ValueDim = 16<<r.IntN(4), 16<<r.IntN(4)
		for i := range p.Rank {
			if p.Axes[i].Kernel > 2 && r.IntN(3) == 0 {
				p.Axes[i].Stride = 1 + r.Int64N(p.Axes[i].Kernel)
			}
			if r.IntN(4) == 0 {
				p.Axes[i].QueryStep = 1 + r.Int64N(3)
			}
		}
		if strings.Contains(variantOf(t, p), "stencils") {
			return &trial{p: p, sizes: sizes}
		}
	}
}
