// SPDX-License-Identifier: MIT

package core

import (
	"errors"
	"math"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// fake is a backend that records what it runs.
type fake struct {
	name    string
	reasons []string
	err     error // of Prepare
	ran     *Buffers
}

func (f *fake) Name() string                      { return f.name }
func (f *fake) Available() (bool, string)         { return true, "for tests" }
func (f *fake) Unsupported(*Problem) []string     { return f.reasons }
func (f *fake) Prepare(*Problem) (Runner, error)  { return f, f.err }
func (f *fake) Run(b *Buffers) error              { f.ran = b; return nil }
func (f *fake) Variant() string                   { return "variant of " + f.name }
func (f *fake) ScratchBytes() int64               { return 42 }
func (f *fake) declining(reasons ...string) *fake { f.reasons = reasons; return f }

func TestChooseListsEveryReason(t *testing.T) {
	p, err := small(nil).Normalize()
	require.NoError(t, err)
	a := (&fake{name: "a"}).declining("too wide", "too long")
	b := (&fake{name: "b"}).declining("no such device")
	c := &fake{name: "c"}

	chosen, err := Choose([]Backend{a, b, c}, Auto, p)
	require.NoError(t, err)
	require.Equal(t, "c", chosen.Name())

	_, err = Choose([]Backend{a, b}, Auto, p)
	require.EqualError(t, err, "no backend takes this problem: a: too wide; too long | b: no such device")
	require.Equal(t, Unsupported, err.(*Error).Status)

	_, err = Choose([]Backend{a, b, c}, "b", p)
	require.EqualError(t, err, "no backend takes this problem: b: no such device")

	_, err = Choose([]Backend{a, b, c}, "d", p)
	require.EqualError(t, err, `backend "d" is unknown (want auto or a, b, c)`)
	require.Equal(t, InvalidArgument, err.(*Error).Status)
}

func TestNewPlan(t *testing.T) {
	f := &fake{name: "a"}
	plan, err := NewPlan([]Backend{f}, Auto, small(nil))
	require.NoError(t, err)
	require.Equal(t, "a", plan.Backend)
	require.Equal(t, "variant of a", plan.Variant())
	require.EqualValues(t, 42, plan.ScratchBytes())

	_, err = NewPlan([]Backend{f}, Auto, Problem{})
	require.ErrorContains(t, err, "op 0 is unknown")
	f.err = errors.New("lost")
	_, err = NewPlan([]Backend{f}, Auto, small(nil))
	require.EqualError(t, err, "lost")
}

// buffersFor allocates every tensor of p, with the strides of a dense heads-last
// layout.
func buffersFor(t *testing.T, p Problem) *Buffers {
	n, err := p.Normalize()
	require.NoError(t, err)
	b := &Buffers{Threads: 1}
	memory := make([]float64, NumRoles)
	for role := range NumRoles {
		shape := n.Shape(role)
		tensor := Tensor{Data: AddressOf(unsafe.Pointer(&memory[role]))}
		stride, dims := int64(1), []int64{}
		if len(shape) >= 4 && role != ExtraKey && role != ExtraValue && role != DExtraKey && role != DExtraValue {
			shape = append([]int64{shape[0]}, shape[4-p.Rank:]...)
		}
		for i := len(shape) - 1; i >= 0; i-- {
			dims = append([]int64{stride}, dims...)
			stride *= max(shape[i], 1)
		}
		copy(tensor.Strides[:], dims)
		b.Tensors[role] = tensor
	}
	return b
}

func run(t *testing.T, p Problem, change func(b *Buffers)) (*Buffers, error) {
	f := &fake{name: "a"}
	plan, err := NewPlan([]Backend{f}, Auto, p)
	require.NoError(t, err)
	b := buffersFor(t, p)
	if change != nil {
		change(b)
	}
	err = plan.Run(b)
	require.Equal(t, err == nil, f.ran != nil, "a backend sees checked buffers only")
	return f.ran, err
}

func TestRunSpreadsStridesOverThreeAxes(t *testing.T) {
	b, err := run(t, small(func(p *Problem) { p.Extra, p.RPB = 3, true }), nil)
	require.NoError(t, err)
	require.Equal(t, [6]int64{6 * 7 * 32, 0, 7 * 32, 32, 8, 1}, b.Tensors[Query].Strides)
	require.Equal(t, [6]int64{6 * 7 * 4, 0, 7 * 4, 4, 1, 0}, b.Tensors[LSE].Strides)
	require.Equal(t, [6]int64{5 * 7, 0, 7, 1, 0, 0}, b.Tensors[RPB].Strides)
	require.Equal(t, [6]int64{3 * 16, 16, 8, 1, 0, 0}, b.Tensors[ExtraKey].Strides)
	require.False(t, b.Given(DQuery), "what the operation does not use is cleared")
}

func TestRunRefusesBadBuffers(t *testing.T) {
	backward := small(func(p *Problem) { p.Op = AttnBackward })
	ragged := small(func(p *Problem) { p.Ragged = true })
	metal := small(func(p *Problem) { p.Memory = Metal })
	for _, c := range []struct {
		problem Problem
		change  func(b *Buffers)
		want    string
	}{
		{small(nil), func(b *Buffers) { b.Tensors[Key].Data = 0 }, "key is NULL (attn_forward needs it)"},
		{small(nil), func(b *Buffers) { b.Tensors[Out].Data = 0 }, "out is NULL (attn_forward needs it)"},
		{backward, func(b *Buffers) { b.Tensors[LSE].Data = 0 }, "lse is NULL (attn_backward needs it)"},
		{small(nil), func(b *Buffers) { b.Tensors[Query].Offset = 2 }, "query is not aligned to its 4-byte elements"},
		{small(nil), func(b *Buffers) { b.Tensors[Out] = b.Tensors[Key] }, "out begins at the address of key (want outputs that overlap no other tensor)"},
		{backward, func(b *Buffers) { b.Tensors[DValue] = b.Tensors[DKey] }, "d_key begins at the address of d_value"},
		{backward, func(b *Buffers) { b.Tensors[DOut] = b.Tensors[DQuery] }, "d_query begins at the address of d_out"},
		{small(nil), func(b *Buffers) { b.Tensors[Query].Data += 2 }, "query is not aligned to its 4-byte elements"},
		{small(nil), func(b *Buffers) { b.Tensors[Key].Data = 64 }, "key is at address 0x40 (want >= 0x1000)"},
		{small(nil), func(b *Buffers) { b.Tensors[Out].Offset = -int64(b.Tensors[Out].Data) }, "out is at address 0x0 (want >= 0x1000)"},
		{small(nil), func(b *Buffers) { b.Tensors[Value].Strides[4] = 2 }, "value has stride 2 in its last dimension (want 1)"},
		{
			small(nil), func(b *Buffers) { b.Tensors[Out].Strides[3] = 0 },
			"out is written and has stride 0 in dimension 4 of size 4 (want distinct elements)",
		},
		{backward, func(b *Buffers) { b.Tensors[DKey].Strides[0] = 0 }, "d_key is written and has stride 0"},
		{small(nil), func(b *Buffers) { b.Tensors[Key].Strides[0] = math.MaxInt64 }, "does not fit 63-bit addresses"},
		{small(nil), func(b *Buffers) { b.Tensors[Key].Strides[0] = math.MinInt64 }, "does not fit 63-bit addresses"},
		{ // each of them fits
			small(nil), func(b *Buffers) {
				b.Tensors[Key].Strides[0], b.Tensors[Key].Strides[1] = math.MaxInt64/16-1, math.MaxInt64/16/5
			}, "does not fit 63-bit addresses",
		},
		{ // 5 of them are 2^64 + 4
			small(nil), func(b *Buffers) { b.Tensors[Key].Strides[1] = 3689348814741910324 },
			"key has stride 3689348814741910324 over 6 elements",
		},
		{small(nil), func(b *Buffers) { b.Threads = 0 }, "threads is 0 (want >= 1)"},
		{metal, func(b *Buffers) { b.Tensors[Key].Offset = -4 }, "key has offset -4 (want >= 0)"},
		{ragged, nil, "sizes has 0 entries (want batch * rank = 4)"},
		{
			ragged, func(b *Buffers) { b.Sizes = []int64{6, 7, 2, 7} },
			"size 2 of sample 1 on axis 0 (want kernel * dilation = 3 to length 6)",
		},
		{ragged, func(b *Buffers) { b.Sizes = []int64{6, 8, 6, 7} }, "size 8 of sample 0 on axis 1"},
	} {
		_, err := run(t, c.problem, c.change)
		require.ErrorContains(t, err, c.want)
		require.Equal(t, InvalidArgument, err.(*Error).Status)
	}
}

func TestRunTakesUnusualBuffers(t *testing.T) {
	for name, c := range map[string]struct {
		problem Problem
		change  func(b *Buffers)
	}{
		"no lse": {small(nil), func(b *Buffers) { b.Tensors[LSE] = Tensor{} }},
		"input expanded over heads and batch": {small(nil), func(b *Buffers) {
			b.Tensors[Key].Strides[0], b.Tensors[Key].Strides[3] = 0, 0
		}},
		"last dimension of size 1 with any stride": {
			small(func(p *Problem) { p.ValueDim = 1 }),
			func(b *Buffers) { b.Tensors[Value].Strides[4] = 17 },
		},
		"single element of any stride": {
			small(func(p *Problem) { p.Batch = 1 }),
			func(b *Buffers) { b.Tensors[Key].Strides[0], b.Tensors[Out].Strides[0] = math.MaxInt64, 0 },
		},
		"lse with a stride of its heads": {small(nil), func(b *Buffers) { b.Tensors[LSE].Strides[3] = 3 }},
		"axis running backwards":         {small(nil), func(b *Buffers) { b.Tensors[Key].Strides[1] = -224 }},
		"empty batch without memory":     {small(func(p *Problem) { p.Batch = 0 }), func(b *Buffers) { *b = Buffers{Threads: 1} }},
		"ragged": {
			small(func(p *Problem) { p.Ragged = true }),
			func(b *Buffers) { b.Sizes = []int64{6, 7, 3, 4} },
		},
	} {
		_, err := run(t, c.problem, c.change)
		require.NoError(t, err, name)
	}
}

func TestReadsWritesOptional(t *testing.T) {
	p, err := small(func(p *Problem) { p.Op = AttnBackward }).Normalize()
	require.NoError(t, err)
	require.True(t, p.Reads(DLSE) && p.Optional(DLSE) && !p.Writes(DLSE))
	require.True(t, p.Writes(DKey) && p.Optional(DKey) && !p.Reads(DKey))
	require.True(t, p.Reads(Out) && !p.Optional(Out))
	require.False(t, p.Reads(RPB) || p.Writes(DRPB) || p.Reads(ExtraKey), "the problem has neither")
}
