// SPDX-License-Identifier: MIT

package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests"
)

// Cuts returns the numbers of ranges into which to divide an axis: all of them with
// NATTEN_TEST_RANGES=full, otherwise one, in rotation.
func Cuts(turn int) []int64 {
	all := []int64{2, 3, 7}
	if os.Getenv("NATTEN_TEST_RANGES") == "full" {
		return all
	}
	return all[turn%len(all):][:1]
}

// Parts divides the queries of an axis into up to n ranges of nearly equal size. With
// held, each part holds only the keys that it needs, otherwise all.
func Parts(p core.Problem, sizes []int64, axis int, n int64, held bool) (parts []core.Problem) {
	whole := p.Axes[axis]
	if err := whole.Normalize(axis); err != nil {
		panic(err)
	}
	outputs := whole.Outputs()
	for i := range n {
		first, end := i*outputs/n, (i+1)*outputs/n
		if first == end {
			continue
		}
		part := p
		a := &part.Axes[axis]
		a.QueryFirst = first * whole.QueryStep
		a.QueryCount = min(end*whole.QueryStep, whole.Length) - a.QueryFirst
		if held {
			hold(&part, sizes)
		}
		parts = append(parts, part)
	}
	return parts
}

// hold sets the key ranges of p to the keys that are needed.
func hold(p *core.Problem, sizes []int64) {
	for i := range p.Rank {
		a := p.Axes[i]
		if err := a.Normalize(i); err != nil {
			panic(err)
		}
		lengths := []int64{a.Length}
		if p.Ragged {
			lengths = lengths[:0]
			for at := i; at < len(sizes); at += p.Rank {
				lengths = append(lengths, sizes[at])
			}
		}
		first, end := a.Length, int64(0)
		for _, length := range lengths {
			if b := a.WithLength(length); b.Outputs() > 0 {
				r := b.RangeReach()
				first, end = min(first, r.First), max(end, r.End)
			}
		}
		if first < end {
			p.Axes[i].KeyFirst, p.Axes[i].KeyCount = first, end-first
		}
	}
}

// Ranges tests an Executor on every step-th case with each axis divided into ranges.
func Ranges(t *testing.T, execute Executor, step int) {
	for number, c := range tests.Cases() {
		if number%step != 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			for axis := range c.Rank {
				for op := core.AttnForward; op.Valid(); op++ {
					p := c.Problem(op, DTypes[(number+int(op)+axis)%len(DTypes)])
					for i, cuts := range Cuts(number + int(op) + axis) {
						for n, part := range Parts(p, c.FlatSizes(), axis, cuts, (number+int(op)+i)%2 == 0) {
							e := newExperiment(part, c.FlatSizes(), number+int(op)+n, nil)
							e.check(t, execute, fmt.Sprintf("%v %v part %d of %d along axis %d", op, p.DType, n, cuts, axis))
						}
					}
				}
			}
		})
	}
}

// RandomRanges draws a small valid problem of any kind with ranges and sizes for it.
func RandomRanges(r *rand.Rand) (core.Problem, []int64) {
	p, sizes := Random(r)
	for i := range p.Rank {
		a := p.Axes[i]
		if err := a.Normalize(i); err != nil {
			panic(err)
		}
		if r.IntN(4) > 0 {
			first := r.Int64N(a.Outputs()) * a.QueryStep
			p.Axes[i].QueryFirst, p.Axes[i].QueryCount = first, 1+r.Int64N(a.Length-first)
		}
	}
	if r.IntN(4) > 0 {
		hold(&p, sizes)
		for i := range p.Rank { // and some more keys
			a := &p.Axes[i]
			if a.KeyCount > 0 {
				before, after := r.Int64N(a.KeyFirst+1), r.Int64N(a.Length-a.KeyFirst-a.KeyCount+1)
				if r.IntN(2) == 0 {
					before, after = min(before, 1), min(after, 1)
				}
				a.KeyFirst, a.KeyCount = a.KeyFirst-before, a.KeyCount+before+after
			}
		}
	}
	return p, sizes
}

// Unranged returns p without its ranges.
func Unranged(p core.Problem) core.Problem {
	for i := range p.Axes {
		p.Axes[i].Range = core.Range{}
	}
	return p
}

// Whole tests that an Executor gives the same results for parts of a problem as for the
// whole. Rows must have the same bits if exact is set, and otherwise agree within the
// tolerance. If the parts cover the problem, shared gradients must add up.
func Whole(t *testing.T, execute Executor, p core.Problem, parts []core.Problem, sizes []int64, exact bool, name string) {
	t.Helper()
	e := newExperiment(p, sizes, 0, nil)
	require.NoError(t, e.run(execute, nil), name)
	sums, outputs := map[core.Role]*array{}, int64(0)
	for _, given := range parts {
		part := e.part(given)
		outputs += part.problem.Outputs()
		require.NoError(t, part.run(execute, nil), name)
		for role, got := range part.outputs {
			if !rowsOf(role) {
				if sums[role] == nil {
					sums[role] = newArray(e.problem, role, layout{})
					sums[role].each(func(i [6]int64) { sums[role].set(i, 0) })
				}
				got.each(func(i [6]int64) {
					at := part.within(role, i)
					sums[role].set(at, sums[role].get(at)+got.get(i))
				})
				continue
			}
			e.alike(t, role, exact, name, func(role core.Role, alike func(at [6]int64, v float64)) {
				got.each(func(i [6]int64) { alike(part.within(role, i), got.get(i)) })
			})
		}
	}
	if outputs != e.problem.Outputs() {
		return
	}
	for role, sum := range sums {
		e.alike(t, role, false, name, func(_ core.Role, alike func(at [6]int64, v float64)) {
			sum.each(func(i [6]int64) { alike(i, sum.get(i)) })
		})
	}
}

// rowsOf reports whether role is an output with rows of their own for the queries.
func rowsOf(role core.Role) bool {
	switch role {
	case core.Out, core.LSE, core.Attn, core.DQuery, core.DAttn:
		return true
	}
	return false
}

// alike compares those elements of an output for which list calls its function.
func (e *experiment) alike(t *testing.T, role core.Role, exact bool, name string, list func(core.Role, func([6]int64, float64))) {
	t.Helper()
	want, largest := e.outputs[role], 1.0
	want.each(func(i [6]int64) {
		if v := want.get(i); finite(v) {
			largest = math.Max(largest, math.Abs(v))
		}
	})
	tolerance := tests.Tolerance(e.problem.Op, want.dtype) * largest
	if exact {
		tolerance = 0
	}
	wrong := 0
	list(role, func(at [6]int64, v float64) {
		if w := want.get(at); v != w && !(math.Abs(v-w) <= tolerance) {
			if wrong++; wrong <= 3 {
				t.Errorf("%s: %v%v is %v in a part, %v in the whole", name, role, at, v, w)
			}
		}
	})
}

// part returns e with ranges and the inputs of e in these ranges.
func (e *experiment) part(given core.Problem) *experiment {
	p, err := given.Normalize()
	if err != nil {
		panic(err)
	}
	part := &experiment{given: given, problem: p, sizes: e.sizes, threads: e.threads, layout: e.layout, inputs: map[core.Role]*array{}}
	for role, from := range e.inputs {
		part.inputs[role] = newArray(p, role, e.layout)
		part.fill(role, func(i [6]int64) float64 { return from.get(part.within(role, i)) })
	}
	return part
}

// within returns the index of an element in the tensor of the problem without ranges.
func (e *experiment) within(role core.Role, i [6]int64) [6]int64 {
	for axis := range e.problem.Axes {
		a := &e.problem.Axes[axis]
		switch role {
		case core.Query, core.DQuery:
			i[1+axis] += a.QueryFirst
		case core.Key, core.DKey, core.Value, core.DValue:
			i[1+axis] += a.KeyFirst
		case core.Out, core.DOut, core.LSE, core.DLSE, core.Attn, core.DAttn:
			i[1+axis] += a.QueryFirst / a.QueryStep
		}
	}
	return i
}
