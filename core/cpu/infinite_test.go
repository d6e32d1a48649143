// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// Dot products that overflow to -infinity give rows that see nothing, in every engine, including
// those that take no bias.
func TestRowsOfInfiniteLogits(t *testing.T) {
	for _, c := range []struct {
		lengths, kernels []int64
		dim              int64
	}{
		{[]int64{90}, []int64{7}, 16},           // strips
		{[]int64{220}, []int64{161}, 16},        // dense tiles
		{[]int64{12, 12}, []int64{3, 3}, 16},    // stencils
		{[]int64{14, 14}, []int64{7, 7}, 32},    // blocks
		{[]int64{6, 7, 6}, []int64{3, 3, 5}, 5}, // panels
	} {
		for _, dtype := range []core.DType{core.Float32, core.BFloat16} {
			p := plain(core.AttnForward, c.lengths, c.kernels, 2, c.dim)
			p.DType = dtype
			t.Run(fmt.Sprint(c.lengths, c.kernels, dtype), func(t *testing.T) { requireEmptyRows(t, p) })
		}
	}
}

// requireEmptyRows runs p with every second query overflowing with all keys.
func requireEmptyRows(t *testing.T, p core.Problem) {
	r := rand.New(rand.NewPCG(5, 6))
	tr := newTrial(t, r, p, nil, false)
	query := 0
	empty := func(element, channels int) bool { return element/(int(p.Heads)*channels)%2 == 0 }
	tr.inputs[core.Key].fill(func() float64 { return -1e20 })
	tr.inputs[core.Query].fill(func() float64 {
		if query++; empty(query-1, int(p.HeadDim)) {
			return 1e20
		}
		return -1e-22
	})
	out := tr.run(t, New(), r, false)
	for i, v := range out[core.LSE].values() {
		require.Equal(t, empty(i, 1), math.IsInf(v, -1), "lse %d is %v", i, v)
	}
	for i, v := range out[core.Out].values() {
		require.Equal(t, empty(i, int(p.HeadDim)), v == 0, "out %d is %v", i, v)
	}
	tr.p.Op = core.AttnBackward
	tr.inputs[core.Out], tr.inputs[core.LSE] = out[core.Out], out[core.LSE]
	tr.inputs[core.DOut] = newArray(r, normalized(t, p), core.DOut, false, true)
	tr.inputs[core.DOut].fill(r.NormFloat64)
	gradients := tr.run(t, New(), r, false)
	for i, v := range gradients[core.DQuery].values() {
		require.True(t, v == 0 || !empty(i, int(p.HeadDim)), "d_query %d is %v", i, v)
	}
	for _, role := range []core.Role{core.DKey, core.DValue} {
		for i, v := range gradients[role].values() {
			require.False(t, math.IsNaN(v) || math.IsInf(v, 0), "%v %d is %v", role, i, v)
		}
	}
}

func normalized(t *testing.T, p core.Problem) *core.Problem {
	n, err := p.Normalize()
	require.NoError(t, err)
	return n
}
