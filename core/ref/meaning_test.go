// SPDX-License-Identifier: MIT

package ref_test

import (
	"math"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/ref"
)

// tensors holds dense float64 tensors with the heads-last layout.
type tensors map[core.Role][]float64

// run executes the problem and returns all of its tensors, inputs and outputs. Inputs that
// are not given are zeros.
func run(t *testing.T, p core.Problem, inputs tensors, sizes ...int64) tensors {
	t.Helper()
	p.DType, p.Batch = core.Float64, max(p.Batch, 1)
	plan, err := core.NewPlan([]core.Backend{ref.New()}, core.Auto, p)
	require.NoError(t, err)
	b := core.Buffers{Sizes: sizes, Threads: 1}
	all := tensors{}
	for role := range core.NumRoles {
		if !plan.Problem.Reads(role) && !plan.Problem.Writes(role) {
			continue
		}
		shape := plan.Problem.Shape(role)
		elements := int64(1)
		tensor := core.Tensor{}
		dense := make([]int64, len(shape))
		for i := len(shape) - 1; i >= 0; i-- {
			dense[i] = elements
			elements *= shape[i]
		}
		copy(tensor.Strides[:], dense)
		switch role {
		case core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
		default:
			copy(tensor.Strides[1:], dense[4-p.Rank:])
		}
		all[role] = inputs[role]
		if all[role] == nil {
			all[role] = make([]float64, elements)
		}
		require.Len(t, all[role], int(elements), "%v", role)
		tensor.Data = core.AddressOf(unsafe.Pointer(&all[role][0]))
		b.Tensors[role] = tensor
	}
	require.NoError(t, plan.Run(&b))
	return all
}

func counting(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = float64(i)
	}
	return values
}

func ones(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = 1
	}
	return values
}

var masked = math.Inf(-1)

// seen lists the keys that each query sees, as qk returns them when every query is 1 and
// every key is its own index.
func seen(t *testing.T, p core.Problem) [][]float64 {
	t.Helper()
	p.Op, p.DType, p.Batch, p.Heads, p.HeadDim = core.QKForward, core.Float64, 1, 1, 1
	keys := int64(1)
	for _, a := range p.Axes[:p.Rank] {
		keys *= a.Length
	}
	attn := run(t, p, tensors{core.Query: ones(int(keys)), core.Key: counting(int(keys))})[core.Attn]
	n, err := p.Normalize()
	require.NoError(t, err)
	var rows [][]float64
	for slots := int(n.Slots()); len(attn) > 0; attn = attn[slots:] {
		rows = append(rows, attn[:slots])
	}
	return rows
}

func line(a core.Axis) core.Problem {
	return core.Problem{Rank: 1, Axes: [3]core.Axis{a}}
}

func TestWhoSeesWhomIn1D(t *testing.T) {
	for name, c := range map[string]struct {
		axis core.Axis
		want [][]float64
	}{
		"odd": {
			core.Axis{Length: 5, Kernel: 3},
			[][]float64{{0, 1, 2}, {0, 1, 2}, {1, 2, 3}, {2, 3, 4}, {2, 3, 4}},
		},
		"even: one more to the left": {core.Axis{Length: 8, Kernel: 4}, [][]float64{
			{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}, {1, 2, 3, 4}, {2, 3, 4, 5}, {3, 4, 5, 6}, {4, 5, 6, 7}, {4, 5, 6, 7},
		}},
		"dilation that does not divide": {core.Axis{Length: 7, Kernel: 3, Dilation: 2}, [][]float64{
			{0, 2, 4}, {1, 3, 5}, {0, 2, 4}, {1, 3, 5}, {2, 4, 6}, {1, 3, 5}, {2, 4, 6},
		}},
		"causal, masked slots last": {
			core.Axis{Length: 4, Kernel: 3, Causal: true},
			[][]float64{{0, masked, masked}, {0, 1, masked}, {0, 1, 2}, {1, 2, 3}},
		},
		"causal, masked slots first": {
			core.Axis{Length: 4, Kernel: 3, Causal: true, MaskFirst: true},
			[][]float64{{masked, masked, 0}, {masked, 0, 1}, {0, 1, 2}, {1, 2, 3}},
		},
		"stride: leaders 1, 3, 5, 7": {core.Axis{Length: 8, Kernel: 4, Stride: 2}, [][]float64{
			{0, 1, 2, 3}, {0, 1, 2, 3}, {1, 2, 3, 4}, {1, 2, 3, 4}, {3, 4, 5, 6}, {3, 4, 5, 6}, {4, 5, 6, 7}, {4, 5, 6, 7},
		}},
		"stride, causal": {core.Axis{Length: 8, Kernel: 4, Stride: 2, Causal: true}, [][]float64{
			{0, masked, masked, masked},
			{0, 1, masked, masked},
			{0, 1, 2, masked},
			{0, 1, 2, 3},
			{2, 3, 4, masked},
			{2, 3, 4, 5},
			{4, 5, 6, masked},
			{4, 5, 6, 7},
		}},
		"every third query": {
			core.Axis{Length: 8, Kernel: 3, QueryStep: 3},
			[][]float64{{0, 1, 2}, {2, 3, 4}, {5, 6, 7}},
		},
		"kernel 1": {core.Axis{Length: 3, Kernel: 1}, [][]float64{{0}, {1}, {2}}},
	} {
		require.Equal(t, c.want, seen(t, line(c.axis)), name)
	}
}

func TestSlotsAreRowMajor(t *testing.T) {
	p := core.Problem{Rank: 2, Axes: [3]core.Axis{{Length: 3, Kernel: 2}, {Length: 4, Kernel: 3}}}
	rows := seen(t, p)
	require.Equal(t, []float64{0, 1, 2, 4, 5, 6}, rows[0])
	require.Equal(t, []float64{5, 6, 7, 9, 10, 11}, rows[11])

	p.Axes[0] = core.Axis{Length: 3, Kernel: 3, Causal: true}
	p.Axes[1] = core.Axis{Length: 5, Kernel: 5}
	rows = seen(t, p)
	require.Equal(t, []float64{0, 1, 2, 3, 4, masked, masked, masked, masked, masked, masked, masked, masked, masked, masked}, rows[0])
	require.Equal(t, masked, rows[5][10])
	require.Equal(t, 9.0, rows[5][9])
}

// When queries are 0 and every bias entry is its own index, qk returns the indices of the
// bias entries.
func TestBiasIndex(t *testing.T) {
	p := line(core.Axis{Length: 5, Kernel: 3})
	p.Op, p.Heads, p.HeadDim, p.RPB = core.QKForward, 1, 1, true
	got := run(t, p, tensors{core.RPB: counting(5)})
	require.Equal(t, []float64{2, 3, 4, 1, 2, 3, 1, 2, 3, 1, 2, 3, 0, 1, 2}, got[core.Attn])
}

func TestAttentionByHand(t *testing.T) {
	p := line(core.Axis{Length: 3, Kernel: 1})
	p.Op, p.Heads, p.HeadDim, p.Extra = core.AttnForward, 1, 1, 1
	p.Scale, p.HasScale = 2, true
	got := run(t, p, tensors{
		core.Query: {1, 2, 3}, core.Key: {1, 1, 1}, core.Value: {10, 20, 30},
		core.ExtraKey: {0}, core.ExtraValue: {-10},
	})
	for i, logit := range []float64{2, 4, 6} { // against the additional token's 0
		weight := math.Exp(logit) / (math.Exp(logit) + 1)
		require.InDelta(t, weight*float64(10+10*i)-(1-weight)*10, got[core.Out][i], 1e-14)
		require.InDelta(t, math.Log(math.Exp(logit)+1), got[core.LSE][i], 1e-14)
	}
}

func TestGroupsOfHeadsShareKeys(t *testing.T) {
	p := line(core.Axis{Length: 1, Kernel: 1})
	p.Op, p.Heads, p.KVHeads, p.HeadDim = core.QKForward, 6, 2, 1
	got := run(t, p, tensors{core.Query: ones(6), core.Key: {7, 8}})
	require.Equal(t, []float64{7, 7, 7, 8, 8, 8}, got[core.Attn])
}

func TestPaddingIsNeverSeen(t *testing.T) {
	nan := math.NaN()
	p := line(core.Axis{Length: 5, Kernel: 3})
	p.Op, p.Heads, p.HeadDim, p.Ragged, p.Batch = core.AttnForward, 1, 1, true, 2
	got := run(t, p, tensors{
		core.Query: {0, 0, 0, nan, nan, 0, 0, 0, 0, 0},
		core.Key:   {0, 0, 0, nan, nan, 0, 0, 0, 0, 0},
		core.Value: {1, 2, 3, nan, nan, 1, 2, 3, 4, 5},
	}, 3, 5)
	require.InDeltaSlice(t, []float64{2, 2, 2, 0, 0, 2, 2, 3, 4, 4}, got[core.Out], 1e-14)
	require.Equal(t, []float64{masked, masked}, got[core.LSE][3:5])
}

// A row whose logits are all -infinity is treated like padding, and a single logit of
// -infinity like a key that is not seen.
func TestInfiniteLogits(t *testing.T) {
	p := line(core.Axis{Length: 3, Kernel: 3})
	p.Op, p.Heads, p.HeadDim, p.RPB = core.AttnForward, 2, 1, true
	inf := math.Inf(-1)
	inputs := tensors{
		core.Query: ones(6), core.Key: ones(6), core.Value: {1, 10, 2, 20, 4, 40},
		core.RPB: {inf, inf, inf, inf, inf, inf, inf, 0, inf, 0},
	}
	got := run(t, p, inputs)
	// Entry k-q+2 of head 1's bias is finite only for the query's own key and for the key two
	// positions later.
	require.InDeltaSlice(t, []float64{0, 25, 0, 20, 0, 40}, got[core.Out], 1e-14)
	require.InDeltaSlice(t, []float64{inf, 1 + math.Ln2, inf, 1, inf, 1}, got[core.LSE], 1e-14)

	p.Op = core.AttnBackward
	inputs[core.Out], inputs[core.LSE], inputs[core.DOut] = got[core.Out], got[core.LSE], ones(6)
	got = run(t, p, inputs)
	require.InDeltaSlice(t, []float64{0, 0.5, 0, 1, 0, 1.5}, got[core.DValue], 1e-14)
	require.InDeltaSlice(t, []float64{0, 0, 0, 0, 0}, got[core.DRPB][:5], 0)
	for i := range 3 {
		require.Zero(t, got[core.DQuery][2*i], "d_query of a row that sees nothing")
		require.Zero(t, got[core.DKey][2*i])
	}
}
