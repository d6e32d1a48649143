// SPDX-License-Identifier: MIT

package core

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every number of these shapes is another one, so that no two can be mixed up.
func TestShapes(t *testing.T) {
	p, err := Problem{
		Op: AttnBackward, DType: Float16, Rank: 3, Batch: 2, Heads: 6, KVHeads: 3, HeadDim: 8, ValueDim: 5, Extra: 4, RPB: true,
		Axes: [3]Axis{
			{Length: 11, Kernel: 3, QueryStep: 2},
			{Length: 13, Kernel: 4, Range: Range{QueryFirst: 3, QueryCount: 7, KeyFirst: 1, KeyCount: 11}},
			{Length: 17, Kernel: 5, QueryStep: 3},
		},
	}.Normalize()
	require.NoError(t, err)
	require.EqualValues(t, 6*7*6, p.Outputs())
	query, key, out := []int64{2, 11, 7, 17, 6}, []int64{2, 11, 11, 17, 3}, []int64{2, 6, 7, 6, 6}
	for roles, want := range map[[2]Role][]int64{
		{Query, DQuery}:           append(query, 8),
		{Key, DKey}:               append(key[:5:5], 8),
		{Value, DValue}:           append(key[:5:5], 5),
		{Out, DOut}:               append(out[:5:5], 5),
		{Attn, DAttn}:             append(out[:5:5], 64),
		{LSE, DLSE}:               out,
		{RPB, DRPB}:               {6, 5, 7, 9},
		{ExtraKey, DExtraKey}:     {2, 4, 3, 8},
		{ExtraValue, DExtraValue}: {2, 4, 3, 5},
	} {
		for _, role := range roles {
			require.Equal(t, want, p.Shape(role), "%v", role)
		}
	}
}

// Log-sum-exp has the type that sums are taken in, and all else that of the problem.
func TestTypesOfRoles(t *testing.T) {
	p := Problem{DType: BFloat16}
	for role := range NumRoles {
		want, size := BFloat16, int64(2)
		if role == LSE || role == DLSE {
			want, size = Float32, 4
		}
		require.Equal(t, want, p.DTypeOf(role), "%v", role)
		require.Equal(t, size, p.ElementSize(role), "%v", role)
	}
}

// Operations without values have no value_dim of their own, so that plans are equal, and
// only fused ones have a default scale.
func TestDefaultsByOperation(t *testing.T) {
	for op, want := range map[Op]struct {
		head, value int64
		scale       float64
	}{
		AttnForward: {4, 9, 0.5}, AttnBackward: {4, 9, 0.5}, QKForward: {4, 4, 1}, QKBackward: {4, 4, 1},
		AVForward: {9, 9, 1}, AVBackward: {9, 9, 1},
	} {
		p, err := small(func(p *Problem) { p.Op, p.HeadDim, p.ValueDim = op, 4, 9 }).Normalize()
		require.NoError(t, err)
		require.Equal(t, want.head, p.HeadDim, "%v", op)
		require.Equal(t, want.value, p.ValueDim, "%v", op)
		require.Equal(t, want.scale, p.Scale, "%v", op)
		scaled, err := small(func(p *Problem) { p.Op, p.HasScale, p.Scale = op, true, 3 }).Normalize()
		require.NoError(t, err)
		require.Equal(t, op < AVForward, scaled.Scale == 3, "%v", op)
	}
}

func TestLargestHeadDim(t *testing.T) {
	_, err := small(func(p *Problem) { p.HeadDim, p.ValueDim = MaxHeadDim, MaxHeadDim }).Normalize()
	require.NoError(t, err)
	_, err = small(func(p *Problem) { p.ValueDim = MaxHeadDim + 1 }).Normalize()
	require.ErrorContains(t, err, "value_dim is 4097 (want 1 to 4096)")
}

// Sizes are by sample, then axis, and are those of the last axes.
func TestSampleAxes(t *testing.T) {
	p, err := small(func(p *Problem) { p.Ragged = true }).Normalize()
	require.NoError(t, err)
	axes := p.SampleAxes([]int64{6, 5, 4, 7}, 1)
	require.Equal(t, [3]int64{1, 4, 7}, [3]int64{axes[0].Length, axes[1].Length, axes[2].Length})
}
