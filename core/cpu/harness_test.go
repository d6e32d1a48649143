// SPDX-License-Identifier: MIT

package cpu

import (
	"bytes"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/ref"
	"github.com/natten-mps/natten-mps/tests"
)

// inputsOf lists the inputs of each operation.
var inputsOf = map[core.Op][]core.Role{
	core.AttnForward:  {core.Query, core.Key, core.Value, core.RPB, core.ExtraKey, core.ExtraValue},
	core.AttnBackward: {core.Query, core.Key, core.Value, core.RPB, core.ExtraKey, core.ExtraValue, core.DOut, core.DLSE, core.Out, core.LSE},
	core.QKForward:    {core.Query, core.Key, core.RPB, core.ExtraKey},
	core.QKBackward:   {core.Query, core.Key, core.ExtraKey, core.DAttn},
	core.AVForward:    {core.Attn, core.Value, core.ExtraValue},
	core.AVBackward:   {core.Attn, core.Value, core.ExtraValue, core.DOut},
}

var outputsOf = map[core.Op][]core.Role{
	core.AttnForward:  {core.Out, core.LSE},
	core.AttnBackward: {core.DQuery, core.DKey, core.DValue, core.DRPB, core.DExtraKey, core.DExtraValue},
	core.QKForward:    {core.Attn},
	core.QKBackward:   {core.DQuery, core.DKey, core.DRPB, core.DExtraKey},
	core.AVForward:    {core.Out},
	core.AVBackward:   {core.DAttn, core.DValue, core.DExtraValue},
}

func used(p *core.Problem, role core.Role) bool {
	switch role {
	case core.RPB, core.DRPB:
		return p.RPB
	case core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
		return p.Extra > 0
	}
	return true
}

// array is a tensor with its own memory, in which guard bytes fill every gap between the
// elements.
type array struct {
	memory  []uint64
	dtype   core.DType
	shape   []int64 // Problem.Shape without the axes that the problem's rank lacks
	strides [6]int64
	first   int64 // index in memory, in elements, of element 0, 0, ...
}

const guard = 0xa5

// newArray allocates an array. It is dense or, if odd, has dimensions in random order, gaps,
// negative strides and, for inputs, strides of 0.
func newArray(r *rand.Rand, p *core.Problem, role core.Role, odd, input bool) *array {
	a := &array{dtype: p.DTypeOf(role)}
	a.shape = append(a.shape, p.Shape(role)...)
	if role != core.ExtraKey && role != core.ExtraValue && role != core.DExtraKey && role != core.DExtraValue {
		a.shape = append(a.shape[:1], a.shape[4-p.Rank:]...)
	}
	order := make([]int, len(a.shape))
	for i := range order {
		order[i] = len(order) - 1 - i
	}
	dense := role != core.LSE && role != core.DLSE && role != core.RPB && role != core.DRPB
	if odd {
		from := 0
		if dense {
			from = 1
		}
		r.Shuffle(len(order)-from, func(i, j int) { order[i+from], order[j+from] = order[j+from], order[i+from] })
	}
	extent := int64(1)
	a.first = 16
	for i, d := range order {
		n := a.shape[d]
		step := extent
		last := dense && i == 0
		if odd && !last {
			step += r.Int64N(4)
			switch pick := r.IntN(8); {
			case pick == 0 && input:
				step = 0
			case pick == 1:
				a.first += step * max(n-1, 0)
				step = -step
			}
		}
		a.strides[d] = step
		extent = max(extent, max(step, -step)*max(n-1, 0)+extent)
	}
	bytes := (extent + 48) * a.dtype.Size()
	a.memory = make([]uint64, bytes/8+8)
	for i, b := range a.bytes() {
		_ = b
		a.bytes()[i] = guard
	}
	return a
}

func (a *array) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&a.memory[0])), 8*len(a.memory))
}

func (a *array) tensor() core.Tensor {
	return core.Tensor{Data: core.AddressOf(unsafe.Pointer(&a.memory[0])), Offset: a.first * a.dtype.Size(), Strides: a.strides}
}

// each calls f with the address of every element.
func (a *array) each(f func(p core.Address)) {
	total := int64(1)
	for _, n := range a.shape {
		total *= n
	}
	for i := range total {
		at, rest := a.first, i
		for d := len(a.shape) - 1; d >= 0; d-- {
			at += rest % a.shape[d] * a.strides[d]
			rest /= a.shape[d]
		}
		f(core.AddressOf(unsafe.Pointer(&a.memory[0])).Add(int(at * a.dtype.Size())))
	}
}

func (a *array) fill(f func() float64) {
	a.each(func(p core.Address) {
		v := [1]float64{f()}
		kern.Store(p, 0, a.dtype, v[:], 1)
	})
}

func (a *array) values() []float64 {
	var out []float64
	a.each(func(p core.Address) {
		var v [1]float64
		kern.Load(v[:], p, 0, a.dtype)
		out = append(out, v[0])
	})
	return out
}

// guarded reports whether all guard bytes are unchanged. It overwrites the elements.
func (a *array) guarded() bool {
	a.fill(func() float64 { return math.NaN() })
	marks := make([]bool, len(a.bytes()))
	base := core.AddressOf(unsafe.Pointer(&a.memory[0]))
	a.each(func(p core.Address) {
		for i := range a.dtype.Size() {
			marks[int64(p-base)+i] = true
		}
	})
	for i, b := range a.bytes() {
		if !marks[i] && b != guard {
			return false
		}
	}
	return true
}

// fewer is count, or a fifth of it with -short, which is used on emulators.
func fewer(count int) int {
	if testing.Short() {
		return max(count/5, 1)
	}
	return count
}

// trial is a problem with data, which can run on several backends.
type trial struct {
	p       core.Problem
	sizes   []int64
	threads int
	inputs  map[core.Role]*array
	skip    map[core.Role]bool // outputs that are not wanted
	// interrupted is that of core.Buffers.
	interrupted func() bool
}

func (tr *trial) run(t testing.TB, backend core.Backend, r *rand.Rand, odd bool) map[core.Role]*array {
	n, err := tr.p.Normalize()
	require.NoError(t, err)
	plan, err := core.NewPlan([]core.Backend{backend}, core.Auto, tr.p)
	require.NoError(t, err)
	b := &core.Buffers{Sizes: tr.sizes, Threads: tr.threads, Interrupted: tr.interrupted}
	for role, a := range tr.inputs {
		b.Tensors[role] = a.tensor()
	}
	outputs := map[core.Role]*array{}
	for _, role := range outputsOf[tr.p.Op] {
		if used(n, role) && !tr.skip[role] {
			outputs[role] = newArray(r, n, role, odd, false)
			outputs[role].fill(math.NaN)
			b.Tensors[role] = outputs[role].tensor()
		}
	}
	require.NoError(t, plan.Run(b))
	runtime.KeepAlive(tr.inputs)
	return outputs
}

func newTrial(t testing.TB, r *rand.Rand, p core.Problem, sizes []int64, odd bool) *trial {
	n, err := p.Normalize()
	require.NoError(t, err)
	tr := &trial{p: p, sizes: sizes, threads: 1 + r.IntN(3), inputs: map[core.Role]*array{}, skip: map[core.Role]bool{}}
	for _, role := range inputsOf[p.Op] {
		if used(n, role) {
			a := newArray(r, n, role, odd, true)
			a.fill(r.NormFloat64)
			tr.inputs[role] = a
		}
	}
	if p.Op == core.AttnBackward {
		forward := *tr
		forward.p.Op = core.AttnForward
		forward.inputs = map[core.Role]*array{}
		for _, role := range inputsOf[core.AttnForward] {
			if a := tr.inputs[role]; a != nil {
				forward.inputs[role] = a
			}
		}
		results := forward.run(t, ref.New(), r, odd)
		tr.inputs[core.Out], tr.inputs[core.LSE] = results[core.Out], results[core.LSE]
		if odd && r.IntN(2) == 0 {
			delete(tr.inputs, core.DLSE)
		}
	}
	return tr
}

// check compares the CPU engine with the reference.
func (tr *trial) check(t testing.TB, r *rand.Rand, odd bool, name string) {
	want := tr.run(t, ref.New(), r, false)
	before := map[core.Role][]byte{}
	for role, a := range tr.inputs {
		before[role] = bytes.Clone(a.bytes())
	}
	got := tr.run(t, New(), r, odd)
	for role, a := range tr.inputs {
		require.Equal(t, before[role], a.bytes(), "%s: input %v changed", name, role)
	}
	tolerance := tests.Tolerance(tr.p.Op, tr.p.DType)
	for role, a := range got {
		compare(t, want[role].values(), a.values(), tolerance, name+" "+role.String())
		require.True(t, a.guarded(), "%s: memory outside %v changed", name, role)
	}
}

func compare(t testing.TB, want, got []float64, tolerance float64, name string) {
	require.Len(t, got, len(want), name)
	largest := 1.0
	for _, v := range want {
		if !math.IsInf(v, 0) {
			largest = max(largest, math.Abs(v))
		}
	}
	for i, v := range want {
		if v == got[i] || v != v && got[i] != got[i] {
			continue
		}
		if d := math.Abs(v - got[i]); !(d <= tolerance*largest) {
			require.Failf(t, "different", "%s element %d: %v (want %v, tolerance %v of %v)", name, i, got[i], v, tolerance, largest)
		}
	}
}

// square is a problem with the same kernel size on every axis.
func square(name string, batch, heads, depth int64, lengths []int64, kernel int64) tests.Case {
	c := tests.Case{Name: name, Rank: len(lengths), Batch: batch, Heads: heads, KVHeads: heads, HeadDim: depth, ValueDim: depth, Lengths: lengths}
	for range lengths {
		c.Kernel = append(c.Kernel, kernel)
		c.Dilation = append(c.Dilation, 1)
		c.Stride = append(c.Stride, 1)
		c.QueryStep = append(c.QueryStep, 1)
		c.Causal = append(c.Causal, false)
	}
	return c
}
