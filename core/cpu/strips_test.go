// SPDX-License-Identifier: MIT

package cpu

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
	"github.com/natten-mps/natten-mps/core/cpu/internal/panel"
)

// The strip and panel engines give the same results.
func TestStripsEqualPanels(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
		p := plain(op, []int64{150}, []int64{9}, 4, 40)
		p.KVHeads, p.ValueDim, p.Axes[0].Dilation = 2, 24, 2
		tr := newTrial(t, r, p, nil, false)
		got := tr.run(t, New(), r, false)
		require.Contains(t, variantOf(t, tr.p), "strips")
		given := engines
		engines = []engine.Engine{panel.Engine{}}
		want := tr.run(t, New(), r, false)
		engines = given
		for role, a := range want {
			compare(t, a.values(), got[role].values(), 1e-6, role.String())
		}
	}
}

// Strips refuse gradients of down-sampled queries however large the steps of the axes are.
func TestStripsRefuseGradientsWithQuerySteps(t *testing.T) {
	p := plain(core.AttnBackward, []int64{1 << 32, 1 << 31, 12}, []int64{1, 1, 3}, 2, 16)
	p.Axes[2].QueryStep = 2
	for i := range 2 {
		p.Axes[i].QueryStep = p.Axes[i].Length
		p.Axes[i].Range = core.Range{QueryCount: 1, KeyCount: 1}
	}
	require.NotContains(t, variantOf(t, p), "strips")
	p.Op = core.AttnForward
	require.Contains(t, variantOf(t, p), "strips")
}
