// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// engineOf is the name that a variant gives to the engine of its first pass.
func engineOf(variant string) string {
	for _, name := range []string{"all gradients, blocks", "blocks", "stencils", "strips", "dense", "panel"} {
		if strings.Contains(variant, name) {
			return name
		}
	}
	return ""
}

// A part of a problem is computed by the same engine as the whole, with the same results.
func TestEnginesTakeRanges(t *testing.T) {
	volume := cube(core.Float32)
	volume.Heads, volume.Axes[2].Length = 2, 9
	picture := plain(core.AttnForward, []int64{24, 30}, []int64{7, 6}, 3, 16)
	long := plain(core.AttnForward, []int64{300}, []int64{131}, 2, 16)
	tokens := plain(core.AttnForward, []int64{60}, []int64{9}, 2, 16)
	tokens.Extra = 3
	dilated := plain(core.AttnForward, []int64{170}, []int64{7}, 4, 12)
	dilated.KVHeads, dilated.Axes[0].Dilation, dilated.Axes[0].Stride = 2, 5, 3
	causal := plain(core.AttnForward, []int64{200}, []int64{11}, 2, 16)
	causal.Axes[0].Causal = true
	small := plain(core.AttnForward, []int64{20, 50}, []int64{3, 3}, 2, 32)
	for number, p := range []core.Problem{volume, picture, long, tokens, dilated, causal, small} {
		takesRanges(t, p, number)
	}
	withTwins(t, func(t *testing.T) {
		takesRanges(t, plain(core.AttnForward, []int64{15, 18}, []int64{5, 4}, 2, 8), 0)
	})
}

func takesRanges(t *testing.T, p core.Problem, number int) {
	for _, p.Op = range []core.Op{core.AttnForward, core.AttnBackward} {
		for axis := range p.Rank {
			name := fmt.Sprint(number, " ", p.Op, " axis ", axis)
			parts := conformance.Parts(p, nil, axis, 3, number%2 == 0)
			for _, part := range parts {
				require.Equal(t, engineOf(variantOf(t, p)), engineOf(variantOf(t, part)), name)
			}
			conformance.Whole(t, conformance.Backend(New()), p, parts, nil, false, name)
		}
	}
}

// What a range costs depends on its size, not on the number of dilation groups of the axis.
func TestRangesSkipGroupsWithoutQueries(t *testing.T) {
	p := plain(core.AttnForward, []int64{1 << 50}, []int64{3}, 2, 16)
	p.Axes[0] = core.Axis{Length: 1 << 50, Kernel: 3, Dilation: 1 << 45, Causal: true}
	p.Axes[0].Range = core.Range{QueryFirst: 1 << 44, QueryCount: 4, KeyFirst: 1 << 44, KeyCount: 4}
	for _, p.Op = range ops {
		n, err := p.Normalize()
		require.NoError(t, err)
		for _, plan := range newRunner(n).all() {
			require.LessOrEqual(t, plan.Walk().Tasks, 4*n.Heads, plan.Variant())
		}
		conformance.Check(t, conformance.Backend(New()), p, nil, 0)
	}
}
