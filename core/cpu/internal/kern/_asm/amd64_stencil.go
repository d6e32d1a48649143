// SPDX-License-Identifier: MIT

package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// stencilWidths are the numbers of registers that may hold the channels of a row.
var stencilWidths = []int{1, 2, 4, 8}

// stencils writes the kernels for small windows.
func (g *amd64) stencils() {
	g.stencilKernel("stencilDotsAVX512", []string{
		"\tfor i := range items { for j := range count { dst[i*dstStep+j] = *factors *",
		"\t\tsum over c < 16*vectorful of vectors[i*vectorStep+c] * rows[starts[i]+offsets[j]+c] } }",
		"",
		"count is a multiple of 4. It writes whole vectors of 16 elements of dst.",
	}, g.stencilDots)
	g.stencilKernel("stencilSumsAVX512", []string{
		"\tfor i := range items { for c := range 16*vectorful { dst[i*dstStep+c] = factors[i*factorStep] *",
		"\t\tsum over j < count of vectors[i*vectorStep+j] * rows[starts[i]+offsets[j]+c] } }",
	}, g.stencilSums)
}

// stencilItem is the registers of a loop over items.
type stencilItem struct{ call, dst, vectors, rows, factors reg.Register }

func (g *amd64) stencilKernel(name string, formula []string, item func(parts int, w *stencilItem)) {
	doc := []string{name + " is that of AVX-512."}
	if formula != nil {
		doc = append([]string{name + " is, for an abi.Stencil with 1, 2, 4 or 8 as vectorful,", ""}, formula...)
	}
	g.functionOf(stencil, name, doc...)
	call := g.arg("call")
	for i, parts := range stencilWidths {
		next := g.label("parts")
		if i < len(stencilWidths)-1 {
			g.CMPQ(mem(call, stencil.at("Vectorful")), operand.U8(parts))
			g.JNE(operand.LabelRef(next))
		}
		w := &stencilItem{call, g.field(call, stencil.at("Dst")), g.field(call, stencil.at("Vectors")), g.GP64(), g.field(call, stencil.at("Factors"))}
		starts := g.field(call, stencil.at("Starts"))
		g.repeat(g.field(call, stencil.at("Items")), func() {
			g.MOVQ(mem(call, stencil.at("Rows")), w.rows)
			g.ADDQ(mem(starts, 0), w.rows)
			item(parts, w)
			g.ADDQ(operand.U8(8), starts)
			g.ADDQ(mem(call, stencil.at("DstStep")), w.dst)
			g.ADDQ(mem(call, stencil.at("VectorStep")), w.vectors)
			g.ADDQ(mem(call, stencil.at("FactorStep")), w.factors)
		})
		g.leave()
		g.Label(next)
	}
}

// stencilDots computes the dot products of an item with the keys of its window, 16 at a time.
func (g *amd64) stencilDots(parts int, w *stencilItem) {
	q, factor := g.registers(parts, g.ZMM), g.ZMM()
	g.VBROADCASTSS(mem(w.factors, 0), factor)
	for i := range q {
		g.VMULPS(mem(w.vectors, wide*i), factor, q[i])
	}
	offsets, left, dst := g.field(w.call, stencil.at("Offsets")), g.field(w.call, stencil.at("Count")), g.copied(w.dst)
	whole, rest, done := g.label("whole"), g.label("rest"), g.label("done")
	g.Label(whole)
	g.CMPQ(left, operand.U8(16))
	g.JLT(operand.LabelRef(rest))
	g.stencilGroup(16, q, w.rows, offsets, dst)
	g.ADDQ(operand.U32(16*8), offsets)
	g.ADDQ(operand.U8(wide), dst)
	g.SUBQ(operand.U8(16), left)
	g.JMP(operand.LabelRef(whole))
	g.Label(rest)
	for n := 12; n >= 4; n -= 4 {
		next := g.label("fewer")
		g.CMPQ(left, operand.U8(n))
		g.JNE(operand.LabelRef(next))
		g.stencilGroup(n, q, w.rows, offsets, dst)
		g.JMP(operand.LabelRef(done))
		g.Label(next)
	}
	g.Label(done)
}

// stencilGroup computes the dot products of q with n rows.
func (g *amd64) stencilGroup(n int, q []reg.VecVirtual, rows, offsets, dst reg.Register) {
	sums := g.registers(n, g.ZMM)
	for j := range sums {
		offset := g.GP64()
		g.MOVQ(mem(offsets, 8*j), offset)
		for i := range q {
			from := sum(rows, offset)
			from.Disp = wide * i
			if i == 0 {
				g.VMULPS(from, q[i], sums[j])
			} else {
				g.VFMADD231PS(from, q[i], sums[j])
			}
		}
	}
	combine := func(low, high func(ops ...operand.Op), a, b reg.VecVirtual) reg.VecVirtual {
		x, y := g.ZMM(), g.ZMM()
		low(b, a, x)
		high(b, a, y)
		g.VADDPS(y, x, x)
		return x
	}
	quarters := func(control int) func(ops ...operand.Op) {
		return func(ops ...operand.Op) { g.VSHUFF32X4(operand.U8(control), ops[0], ops[1], ops[2]) }
	}
	var pairs, fours, eights []reg.VecVirtual
	for j := 0; j < n; j += 2 {
		pairs = append(pairs, combine(g.VUNPCKLPS, g.VUNPCKHPS, sums[j], sums[j+1]))
	}
	for j := 0; j < len(pairs); j += 2 { // each quarter of these holds sums over that quarter
		fours = append(fours, combine(g.VUNPCKLPD, g.VUNPCKHPD, pairs[j], pairs[j+1]))
	}
	for j := 0; j < len(fours); j += 2 {
		eights = append(eights, combine(quarters(0x88), quarters(0xdd), fours[j], fours[min(j+1, len(fours)-1)]))
	}
	g.VMOVUPS(combine(quarters(0x88), quarters(0xdd), eights[0], eights[len(eights)-1]), mem(dst, 0))
}

// stencilSums computes the weighted sum of the rows of an item's window.
func (g *amd64) stencilSums(parts int, w *stencilItem) {
	const together = 4 // keys
	chains := [2][]reg.VecVirtual{g.registers(parts, g.ZMM), g.registers(parts, g.ZMM)}
	g.zero(chains[0])
	g.zero(chains[1])
	offsets, weights, count := g.field(w.call, stencil.at("Offsets")), g.copied(w.vectors), g.field(w.call, stencil.at("Count"))
	key := func(j int, sums []reg.VecVirtual) {
		offset, weight := g.GP64(), g.ZMM()
		g.MOVQ(mem(offsets, 8*j), offset)
		g.VBROADCASTSS(mem(weights, 4*j), weight)
		for i := range sums {
			from := sum(w.rows, offset)
			from.Disp = wide * i
			g.VFMADD231PS(from, weight, sums[i])
		}
	}
	rest := g.copied(count)
	g.SHRQ(operand.U8(2), count)
	g.repeatIfAny(count, func() {
		for j := range together {
			key(j, chains[j%2])
		}
		g.ADDQ(operand.U8(8*together), offsets)
		g.ADDQ(operand.U8(4*together), weights)
	})
	g.ANDQ(operand.U8(together-1), rest)
	g.repeatIfAny(rest, func() {
		key(0, chains[0])
		g.ADDQ(operand.U8(8), offsets)
		g.ADDQ(operand.U8(4), weights)
	})
	factor := g.ZMM()
	g.VBROADCASTSS(mem(w.factors, 0), factor)
	for i, s := range chains[0] {
		g.VADDPS(chains[1][i], s, s)
		g.VMULPS(factor, s, s)
		g.VMOVUPS(s, mem(w.dst, wide*i))
	}
}
