// SPDX-License-Identifier: MIT

package core

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// small returns a valid 2-D problem after change has been applied to it.
func small(change func(p *Problem)) Problem {
	p := Problem{
		Op: AttnForward, DType: Float32, Rank: 2, Batch: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		Axes: [3]Axis{{Length: 6, Kernel: 3}, {Length: 7, Kernel: 4}},
	}
	if change != nil {
		change(&p)
	}
	return p
}

func TestNormalizeFillsIn(t *testing.T) {
	p, err := small(nil).Normalize()
	require.NoError(t, err)
	require.Equal(t, UnitAxis, p.Axes[0])
	require.Equal(t, Axis{Length: 7, Kernel: 4, Dilation: 1, Stride: 1, QueryStep: 1}, p.Axes[2])
	require.EqualValues(t, 8, p.ValueDim)
	require.InDelta(t, 1/math.Sqrt(8), p.Scale, 1e-15)
	require.EqualValues(t, 2, p.Group())
	require.EqualValues(t, 12, p.WindowSize())

	p, err = small(func(p *Problem) { p.Op, p.KVHeads, p.Extra = QKForward, 0, 5 }).Normalize()
	require.NoError(t, err)
	require.EqualValues(t, 4, p.KVHeads)
	require.EqualValues(t, 17, p.Slots())
	require.Equal(t, 1.0, p.Scale, "of split operations")

	p, err = small(func(p *Problem) { p.Op, p.HeadDim, p.ValueDim = AVForward, 0, 5 }).Normalize()
	require.NoError(t, err)
	require.EqualValues(t, 5, p.ValueDim, "av has no head_dim")

	p, err = small(func(p *Problem) { p.Op, p.HasScale, p.Scale = AVBackward, true, 3 }).Normalize()
	require.NoError(t, err)
	require.Equal(t, 1.0, p.Scale, "av has no logits")

	p, err = small(func(p *Problem) { p.HasScale = true }).Normalize()
	require.NoError(t, err)
	require.Zero(t, p.Scale, "a scale of 0 is a scale")
}

func TestNormalizeIsIdempotentOnPlans(t *testing.T) {
	a, err := small(nil).Normalize()
	require.NoError(t, err)
	b, err := small(func(p *Problem) {
		p.ValueDim, p.HasScale, p.Scale = 8, true, 1/math.Sqrt(8)
		p.Axes[0].Dilation, p.Axes[1].Stride, p.Axes[1].QueryStep = 1, 1, 1
		p.Axes[2] = Axis{Length: -3} // beyond the rank, so it is ignored
	}).Normalize()
	require.NoError(t, err)
	require.Equal(t, *a, *b, "a default given is a default left out")
}

func TestQueryStepBeyondTheLengthComputesOneQuery(t *testing.T) {
	p, err := small(func(p *Problem) { p.Axes[1].QueryStep = math.MaxInt64 }).Normalize()
	require.NoError(t, err)
	require.EqualValues(t, 6, p.Outputs())
}

func TestNormalizeSaysWhatIsWrong(t *testing.T) {
	const huge = math.MaxInt64
	for _, c := range []struct {
		change func(p *Problem)
		want   string
	}{
		{func(p *Problem) { p.Op = 0 }, "op 0 is unknown (want 1 to 6)"},
		{func(p *Problem) { p.Op = 7 }, "op 7 is unknown"},
		{func(p *Problem) { p.DType = 5 }, "dtype 5 is unknown (want 1 to 4)"},
		{func(p *Problem) { p.Memory = 2 }, "memory 2 is unknown (want 0 or 1)"},
		{func(p *Problem) { p.Rank = 0 }, "rank is 0 (want 1, 2 or 3)"},
		{func(p *Problem) { p.Rank = 4 }, "rank is 4 (want 1, 2 or 3)"},
		{func(p *Problem) { p.Op, p.RPB = AVForward, true }, "av_forward takes no relative position bias"},
		{func(p *Problem) { p.Batch = -1 }, "batch is -1 (want >= 0)"},
		{func(p *Problem) { p.Heads = 0 }, "heads is 0 (want >= 1)"},
		{func(p *Problem) { p.KVHeads = 3 }, "kv_heads is 3 (want a divisor of heads, 4)"},
		{func(p *Problem) { p.KVHeads = -2 }, "kv_heads is -2"},
		{func(p *Problem) { p.HeadDim = 0 }, "head_dim is 0 (want 1 to 4096)"},
		{func(p *Problem) { p.HeadDim = 4097 }, "head_dim is 4097 (want 1 to 4096)"},
		{func(p *Problem) { p.ValueDim = -1 }, "value_dim is -1 (want 1 to 4096)"},
		{func(p *Problem) { p.Extra = -1 }, "extra is -1 (want >= 0)"},
		{func(p *Problem) { p.HasScale, p.Scale = true, math.NaN() }, "scale is NaN (want a finite number)"},
		{func(p *Problem) { p.HasScale, p.Scale = true, math.Inf(1) }, "scale is +Inf (want a finite number)"},
		{func(p *Problem) { p.HasScale, p.Scale = true, math.Inf(-1) }, "scale is -Inf (want a finite number)"},
		{func(p *Problem) { p.Axes[1].Length = 0 }, "length is 0 on axis 1 (want 1 to 2^60)"},
		{func(p *Problem) { p.Axes[1].Length = huge }, "length is 9223372036854775807 on axis 1"},
		{func(p *Problem) { p.Axes[0].Kernel = 0 }, "kernel is 0 on axis 0 (want >= 1)"},
		{func(p *Problem) { p.Axes[0].Dilation = -1 }, "dilation is -1 on axis 0 (want >= 1)"},
		{func(p *Problem) { p.Axes[0].Stride = -1 }, "stride is -1 on axis 0 (want >= 1)"},
		{func(p *Problem) { p.Axes[0].QueryStep = -1 }, "query_step is -1 on axis 0 (want >= 1)"},
		{func(p *Problem) { p.Axes[0].Kernel = 7 }, "kernel 7 * dilation 1 exceeds length 6 on axis 0 (want kernel * dilation <= length)"},
		{func(p *Problem) { p.Axes[1].Dilation = 2 }, "kernel 4 * dilation 2 exceeds length 7 on axis 1"},
		{func(p *Problem) { p.Axes[1].Dilation = huge / 2 }, "exceeds length 7 on axis 1"},
		{
			func(p *Problem) { p.Axes[1] = Axis{Length: 1 << 40, Kernel: 1 << 32, Dilation: 1 << 32} },
			"kernel 4294967296 * dilation 4294967296 exceeds length 1099511627776 on axis 1",
		},
		{func(p *Problem) { p.Axes[1].Stride = 5 }, "stride 5 exceeds kernel 4 on axis 1 (want stride <= kernel)"},
		{func(p *Problem) { p.Axes[0].Length, p.Axes[1].Length = 1<<40, 1<<40 }, "query of shape"},
		{func(p *Problem) { p.Batch = 1 << 58 }, "does not fit 63-bit sizes"},
		{func(p *Problem) { p.Extra = huge }, "does not fit 63-bit sizes"},
		{func(p *Problem) { p.Batch, p.HeadDim, p.Axes[0].Length = 0, 4096, 1<<48 }, "does not fit 63-bit sizes"},
		{func(p *Problem) { p.Heads, p.KVHeads = 1<<59, 1 }, "does not fit 63-bit sizes"},
	} {
		_, err := small(c.change).Normalize()
		require.ErrorContains(t, err, c.want)
		require.Equal(t, InvalidArgument, err.(*Error).Status)
	}
}

// problemOf decodes a problem from arbitrary bytes into small, negative or huge numbers.
func problemOf(data []byte) Problem {
	next := func() int64 {
		if len(data) == 0 {
			return 1
		}
		b := data[0]
		data = data[1:]
		n := int64(b & 15)
		switch b >> 4 {
		case 15:
			return -n
		case 14:
			return math.MaxInt64 - n
		case 13:
			return 1<<(4*n) - 1
		default:
			return n
		}
	}
	p := Problem{
		Op: Op(next()), DType: DType(next()), Memory: Memory(next() % 3), Rank: int(next()),
		Batch: next(), Heads: next(), KVHeads: next(), HeadDim: next(), ValueDim: next(), Extra: next(),
		RPB: next()%2 == 1, Ragged: next()%2 == 1,
	}
	for i := range p.Axes {
		p.Axes[i] = Axis{
			Length: next(), Kernel: next(), Dilation: next(), Stride: next(), QueryStep: next(),
			Causal: next()%2 == 1, MaskFirst: next()%2 == 1,
		}
	}
	return p
}

// In a normalized problem, products of sizes do not overflow and windows are in
// bounds.
func FuzzProblem(f *testing.F) {
	f.Add([]byte{1, 1, 0, 2, 2, 4, 2, 8, 8, 0, 0, 0, 6, 3, 1, 1, 1, 0, 0, 7, 4, 1, 1, 1})
	f.Add([]byte{3, 2, 0, 1, 1, 1, 0, 1, 1, 0xe1, 0, 0, 0xdf, 2, 1, 1, 0xe0})
	f.Add([]byte(strings.Repeat("\xde", 40)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := problemOf(data).Normalize()
		if err != nil {
			require.IsType(t, &Error{}, err)
			require.NotEmpty(t, err.Error())
			return
		}
		for role := range NumRoles {
			for _, n := range p.Shape(role) {
				require.GreaterOrEqual(t, n, int64(0), "%v of %+v", role, p)
			}
		}
		for _, a := range p.Axes {
			for _, query := range []int64{0, a.Length / 2, a.Length - 1} {
				w := a.Window(query)
				require.True(t, 0 <= w.Lo && w.Lo < w.Hi, "%+v of %+v", w, a)
				require.Less(t, w.Residue+(w.Hi-1)*a.Dilation, a.Length, "%+v of %+v", w, a)
				require.Positive(t, a.Outputs())
			}
		}
	})
}
