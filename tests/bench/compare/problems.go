// SPDX-License-Identifier: MIT

package main

import (
	"math/rand/v2"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// problem is a problem of a list, without operation and element type.
type problem struct {
	name  string
	of    func(op core.Op, dtype core.DType) core.Problem
	sizes []int64
}

func fromCase(c *tests.Case) problem { return problem{c.Name, c.Problem, c.FlatSizes()} }

// compared lists the problems whose results are compared: those of tests/cases.json and
// random ones, two thirds of which meet the conditions of the engine's special paths.
func compared(random int, seed uint64) []problem {
	var list []problem
	for _, c := range tests.Cases() {
		list = append(list, fromCase(&c))
	}
	for i := range random {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		p, sizes := conformance.Random(r)
		if i%3 > 0 {
			smooth(r, &p, i%3 == 2)
			sizes = nil
		}
		of := func(op core.Op, dtype core.DType) core.Problem {
			q := p
			q.Op, q.DType, q.RPB = op, dtype, p.RPB && op.UsesQK()
			return q
		}
		list = append(list, problem{"random", of, sizes})
	}
	return list
}

// smooth gives a problem whole vectors of channels and plain axes, which are long if
// there are to be several tasks.
func smooth(r *rand.Rand, p *core.Problem, long bool) {
	p.Extra, p.Ragged, p.RPB = 0, false, r.IntN(4) == 0
	p.HeadDim, p.ValueDim = 8<<r.IntN(4), 8<<r.IntN(4)
	if r.IntN(3) > 0 {
		p.ValueDim = p.HeadDim
	}
	longest := []int64{90, 20, 7}[p.Rank-1]
	if long {
		longest *= 3
		p.Batch, p.KVHeads = 1, 1
		p.Heads = 1 + r.Int64N(2)
	}
	for i := range p.Rank {
		a := &p.Axes[i]
		a.Length, a.Stride, a.QueryStep, a.Dilation = 2+r.Int64N(longest), 1, 1, 1
		if r.IntN(4) == 0 {
			a.Dilation = 1 + r.Int64N(min(a.Length/2, 3))
		}
		a.Kernel = 1 + r.Int64N(min(a.Length/a.Dilation, 9))
		if r.IntN(8) == 0 {
			a.Stride = 1 + r.Int64N(a.Kernel)
		}
	}
}

// timed lists the rows of ./build.sh bench cpu and calls of 16 tokens.
func timed() []problem {
	var list []problem
	for _, c := range tests.Bench() {
		list = append(list, fromCase(&c))
	}
	row := func(name string, batch, heads, kvHeads, depth, kernel, dilation int64, lengths ...int64) {
		p := core.Problem{Rank: len(lengths), Batch: batch, Heads: heads, KVHeads: kvHeads, HeadDim: depth, ValueDim: depth}
		for i, n := range lengths {
			p.Axes[i] = core.Axis{Length: n, Kernel: kernel, Dilation: dilation}
		}
		list = append(list, problem{name: name, of: func(op core.Op, dtype core.DType) core.Problem {
			q := p
			q.Op, q.DType = op, dtype
			return q
		}})
	}
	for _, k := range []int64{3, 5, 9, 11, 13} {
		row("2d-32x32-k"+string(rune('0'+k/10))+string(rune('0'+k%10)), 2, 4, 4, 64, k, 1, 32, 32)
	}
	row("2d-32x32-k7-d12", 2, 4, 4, 12, 7, 1, 32, 32)
	row("2d-32x32-k7-d32", 2, 4, 4, 32, 7, 1, 32, 32)
	row("2d-32x32-k7-d128", 2, 4, 4, 128, 7, 1, 32, 32)
	row("2d-32x32-k7-dilation2", 2, 4, 4, 64, 7, 2, 32, 32)
	row("2d-32x32-k7-gqa-8-1", 2, 8, 1, 64, 7, 1, 32, 32)
	row("2d-32x32-k7-mha-8-8", 2, 8, 8, 64, 7, 1, 32, 32)
	row("2d-32x32-k7-b1-h1", 1, 1, 1, 64, 7, 1, 32, 32)
	row("2d-128x128-k13", 1, 2, 2, 64, 13, 1, 128, 128)
	row("3d-16x16x16-k7", 1, 2, 2, 32, 7, 1, 16, 16, 16)
	row("1d-l65536-k13", 1, 1, 1, 64, 13, 1, 65536)
	row("1d-l1024-k101", 1, 4, 4, 64, 101, 1, 1024)
	row("call-1d-l16-k7-d8", 1, 1, 1, 8, 7, 1, 16)
	row("call-2d-4x4-k3-d16", 1, 1, 1, 16, 3, 1, 4, 4)
	return list
}
