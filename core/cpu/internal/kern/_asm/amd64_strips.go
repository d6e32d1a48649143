// SPDX-License-Identifier: MIT

package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

const lineBytes = 64 // of a cache line

// Cursors of a call.
const (
	cursorDst = iota
	cursorVectors
	cursorRows
	cursorFactors
	cursorItems
)

// cursor is the offset of a cursor in abi.Strip.
func cursor(n int) int { return strip.at("Cursors") + 8*n }

// width is a register size.
type width struct {
	register func() reg.VecVirtual
	isa      string
	bytes    int
}

// note describes what is special about kernels of this width.
func (w *width) note() []string {
	if w.bytes == vector {
		return nil
	}
	return []string{"", "eights is even."}
}

// zeroes returns n registers that are 0.
func (g *amd64) zeroes(w *width, n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = w.register()
		g.VXORPS(v[i], v[i], v[i])
	}
	return v
}

// parts returns the number of registers that hold the channels of a call.
func (g *amd64) parts(w *width, call reg.Register) reg.GPVirtual {
	blocks := g.field(call, strip.at("Eights"))
	if w.bytes > vector {
		g.SHRQ(operand.U8(1), blocks)
	}
	return blocks
}

// strips writes the kernels for windows that are single rows.
func (g *amd64) strips(e *exponent) {
	for _, w := range []width{{g.YMM, "AVX2", vector}, {g.ZMM, "AVX512", 2 * vector}} {
		g.dots(&w)
		g.sums(&w)
	}
	g.stripGradients(e)
	g.logSumExp()
}

// field returns a field of the structure that call points to.
func (g *amd64) field(call reg.Register, at int) reg.GPVirtual {
	r := g.GP64()
	g.MOVQ(mem(call, at), r)
	return r
}

// copied returns a register with the value of another.
func (g *amd64) copied(of reg.Register) reg.GPVirtual {
	r := g.GP64()
	g.MOVQ(of, r)
	return r
}

func (g *amd64) dots(w *width) {
	g.functionOf(strip, "dots"+w.isa, append([]string{
		"dots" + w.isa + " is, for an abi.Strip with steps in bytes,",
		"",
		"\tfor i := range items { for j := range count { dst[i*dstStep+j] = factors[i*factorStep] *",
		"\t\tsum over c < 8*eights of vectors[i*vectorStep+c] * rows[i*advance+j*step+c] } }",
		"",
		"It writes whole vectors of 8 elements of dst."}, w.note()...)...)
	call := g.arg("call")
	steps := g.multiples(g.field(call, strip.at("Step")), 8)
	g.eachItem(call, func() {
		d, r, left := g.field(call, cursor(cursorDst)), g.field(call, cursor(cursorRows)), g.field(call, strip.at("Count"))
		whole, rest, done := g.label("whole"), g.label("rest"), g.label("done")
		g.Label(whole)
		g.CMPQ(left, operand.U8(8))
		g.JLT(operand.LabelRef(rest))
		g.dotGroup(w, 8, call, d, r, steps)
		g.LEAQ(at(r, steps, 8), r)
		g.ADDQ(operand.U8(vector), d)
		g.SUBQ(operand.U8(8), left)
		g.JMP(operand.LabelRef(whole))
		g.Label(rest)
		for n := 7; n >= 1; n-- {
			next := g.label("fewer")
			g.CMPQ(left, operand.U8(n))
			g.JNE(operand.LabelRef(next))
			g.dotGroup(w, n, call, d, r, steps)
			g.JMP(operand.LabelRef(done))
			g.Label(next)
		}
		g.Label(done)
	})
	g.leave()
}

// eachItem calls f for every item of a call, with the item's cursors.
func (g *amd64) eachItem(call reg.Register, f func()) {
	for i, from := range []int{strip.at("Dst"), strip.at("Vectors"), strip.at("Rows"), strip.at("Factors"), strip.at("Items")} {
		g.MOVQ(g.field(call, from), mem(call, cursor(i)))
	}
	top := g.label("item")
	g.Label(top)
	f()
	for i, from := range []int{strip.at("DstStep"), strip.at("VectorStep"), strip.at("Advance"), strip.at("FactorStep")} {
		g.ADDQ(g.field(call, from), mem(call, cursor(i)))
	}
	g.DECQ(mem(call, cursor(cursorItems)))
	g.JNZ(operand.LabelRef(top))
}

// dotGroup computes the dot products of a vector with n rows.
func (g *amd64) dotGroup(w *width, n int, call, dst, rows reg.Register, steps map[int]reg.Register) {
	sums := g.zeroes(w, n)
	q, r := g.field(call, cursor(cursorVectors)), g.copied(rows)
	rowsAhead, itemsAhead := g.field(call, strip.at("RowsAhead")), g.field(call, strip.at("ItemsAhead"))
	g.repeat(g.parts(w, call), func() {
		v := w.register()
		g.PREFETCHT0(sum(r, rowsAhead))
		g.PREFETCHT0(sum(q, itemsAhead))
		g.VMOVUPS(mem(q, 0), v)
		for i := range sums {
			g.VFMADD231PS(at(r, steps, i), v, sums[i])
		}
		g.ADDQ(operand.U8(w.bytes), q)
		g.ADDQ(operand.U8(w.bytes), r)
	})
	for i, v := range sums {
		sums[i] = g.halved(w, v)
	}
	factor, p := g.YMM(), g.field(call, cursor(cursorFactors))
	g.VBROADCASTSS(mem(p, 0), factor)
	out := g.lanesOf(sums)
	g.VMULPS(factor, out, out)
	g.VMOVUPS(out, mem(dst, 0))
}

// halved adds the upper half of a register that is wider than a vector to the lower.
func (g *amd64) halved(w *width, v reg.VecVirtual) reg.VecVirtual {
	if w.bytes == vector {
		return v
	}
	upper := g.YMM()
	g.VEXTRACTF64X4(operand.U8(1), v, upper)
	g.VADDPS(v.AsY(), upper, upper)
	return upper
}

// lanesOf returns a vector whose lane i is the sum of the lanes of v[i].
func (g *amd64) lanesOf(v []reg.VecVirtual) reg.VecVirtual {
	combine := func(low, high func(ops ...operand.Op), a, b reg.VecVirtual) reg.VecVirtual {
		x, y := g.YMM(), g.YMM()
		low(b, a, x)
		high(b, a, y)
		g.VADDPS(y, x, x)
		return x
	}
	last := func(v []reg.VecVirtual, i int) reg.VecVirtual { return v[min(i, len(v)-1)] }
	var pairs, fours []reg.VecVirtual
	for i := 0; i < len(v); i += 2 {
		pairs = append(pairs, combine(g.VUNPCKLPS, g.VUNPCKHPS, v[i], last(v, i+1)))
	}
	for i := 0; i < len(pairs); i += 2 {
		fours = append(fours, combine(g.VUNPCKLPD, g.VUNPCKHPD, pairs[i], last(pairs, i+1)))
	}
	halves := func(control int) func(ops ...operand.Op) {
		return func(ops ...operand.Op) { g.VPERM2F128(operand.U8(control), ops[0], ops[1], ops[2]) }
	}
	return combine(halves(0x20), halves(0x31), fours[0], last(fours, 1))
}

func (g *amd64) sums(w *width) {
	g.functionOf(strip, "sums"+w.isa, append([]string{
		"sums" + w.isa + " is, for an abi.Strip with steps in bytes,",
		"",
		"\tfor i := range items { for c := range 8*eights { dst[i*dstStep+c] = factors[i*factorStep] *",
		"\t\tsum over j < count of vectors[i*vectorStep+j*weightStep] * rows[i*advance+j*step+c]",
		"\t\tplus, if add is not 0, dst[i*dstStep+c] } }"}, w.note()...)...)
	call := g.arg("call")
	g.eachItem(call, func() {
		d, r, left := g.field(call, cursor(cursorDst)), g.field(call, cursor(cursorRows)), g.parts(w, call)
		for _, n := range []int{8, 4, 2, 1} {
			top, done := g.label("block"), g.label("narrower")
			g.Label(top)
			g.CMPQ(left, operand.U8(n))
			g.JLT(operand.LabelRef(done))
			g.sumBlock(w, n, call, d, r)
			g.ADDQ(operand.U32(w.bytes*n), r)
			g.ADDQ(operand.U32(w.bytes*n), d)
			g.SUBQ(operand.U8(n), left)
			g.JMP(operand.LabelRef(top))
			g.Label(done)
		}
	})
	g.leave()
}

// sumBlock computes n registers of channels.
func (g *amd64) sumBlock(w *width, n int, call, dst, rows reg.Register) {
	sums := g.zeroes(w, n)
	weights, r := g.field(call, cursor(cursorVectors)), g.copied(rows)
	weightStep, step := g.field(call, strip.at("WeightStep")), g.field(call, strip.at("Step"))
	g.repeatIfAny(g.field(call, strip.at("Count")), func() {
		weight := w.register()
		g.VBROADCASTSS(mem(weights, 0), weight)
		for i := range sums {
			g.VFMADD231PS(mem(r, w.bytes*i), weight, sums[i])
		}
		g.ADDQ(weightStep, weights)
		g.ADDQ(step, r)
	})
	factor, p, fresh, done := w.register(), g.field(call, cursor(cursorFactors)), g.label("fresh"), g.label("done")
	g.VBROADCASTSS(mem(p, 0), factor)
	rowsAhead, itemsAhead := g.field(call, strip.at("RowsAhead")), g.field(call, strip.at("ItemsAhead"))
	g.ADDQ(rows, rowsAhead)
	g.ADDQ(dst, itemsAhead)
	for line := 0; line < w.bytes*n; line += lineBytes {
		g.PREFETCHT0(mem(rowsAhead, line))
		g.PREFETCHT0(mem(itemsAhead, line))
	}
	g.CMPQ(mem(call, strip.at("Add")), operand.U8(0))
	g.JE(operand.LabelRef(fresh))
	for i := range sums {
		g.VFMADD213PS(mem(dst, w.bytes*i), factor, sums[i])
		g.VMOVUPS(sums[i], mem(dst, w.bytes*i))
	}
	g.JMP(operand.LabelRef(done))
	g.Label(fresh)
	for i := range sums {
		g.VMULPS(factor, sums[i], sums[i])
		g.VMOVUPS(sums[i], mem(dst, w.bytes*i))
	}
	g.Label(done)
}

// stripGradients writes the softmax of the backward pass for many items.
func (g *amd64) stripGradients(e *exponent) {
	g.function("stripGradientsAVX2",
		"func(rows, gradients, masks, lses, deltas unsafe.Pointer, items, columns, rowStep int)",
		"stripGradientsAVX2 is, for the lanes of columns vectors of 8 that masks lets through,",
		"with rowStep in bytes,",
		"",
		"\tfor i := range items { for each lane {",
		"\t\trows[i*rowStep+lane] = e**(rows[i*rowStep+lane]-lses[i])",
		"\t\tgradients[i*rowStep+lane] = rows[i*rowStep+lane] * (gradients[i*rowStep+lane]-deltas[i]) } }",
		"",
		"Other lanes become 0.")
	rows, gradients, step := g.arg("rows"), g.arg("gradients"), g.arg("rowStep")
	lses, deltas := g.arg("lses"), g.arg("deltas")
	g.repeat(g.arg("items"), func() {
		lse, delta := g.YMM(), g.YMM()
		g.VBROADCASTSS(mem(lses, 0), lse)
		g.VBROADCASTSS(mem(deltas, 0), delta)
		at, masks := g.GP64(), g.arg("masks")
		g.XORQ(at, at)
		g.repeat(g.arg("columns"), func() {
			x, d, mask := g.YMM(), g.YMM(), g.YMM()
			g.VMOVUPS(sum(rows, at), x)
			g.VSUBPS(lse, x, x)
			g.exp(e, x)
			g.VMOVUPS(mem(masks, 0), mask)
			g.VANDPS(mask, x, x)
			g.VMOVUPS(x, sum(rows, at))
			g.VMOVUPS(sum(gradients, at), d)
			g.VSUBPS(delta, d, d)
			g.VMULPS(x, d, d)
			g.VANDPS(mask, d, d)
			g.VMOVUPS(d, sum(gradients, at))
			g.ADDQ(operand.U8(vector), at)
			g.ADDQ(operand.U8(vector), masks)
		})
		g.ADDQ(operand.U8(4), lses)
		g.ADDQ(operand.U8(4), deltas)
		g.ADDQ(step, rows)
		g.ADDQ(step, gradients)
	})
	g.leave()
}

// logSumExp writes the last step of a softmax.
func (g *amd64) logSumExp() {
	g.function("logSumExpAVX2", "func(lses, max, sums unsafe.Pointer, vectors int)",
		"logSumExpAVX2 is",
		"",
		"\tfor i := range 8*vectors { lses[i] = max[i] + log(sums[i]); sums[i] = 1/sums[i], or 0 for 0 }",
		"",
		"with the logarithm of sums that are 0, normal, infinite or not a number; see log32.")
	c := &abi.Log
	lowest, largest, least := g.negativeInfinity, g.constant("logLargest", c.Largest), g.constant("logLeast", c.Least)
	base, mantissa, one := g.constant("logBase", c.Root), g.constant("logMantissa", c.Mantissa), g.number("logOne", 1)
	half, high, low := g.number("logHalf", c.Half), g.number("logHigh", c.High), g.number("logLow", -c.Low)
	var terms []operand.Mem
	for i, v := range c.Terms {
		terms = append(terms, g.number("logTerm"+string(rune('0'+i)), v))
	}
	lses, tops, totals := g.arg("lses"), g.arg("max"), g.arg("sums")
	g.repeat(g.arg("vectors"), func() {
		x, k, m, z, p, t := g.YMM(), g.YMM(), g.YMM(), g.YMM(), g.YMM(), g.YMM()
		g.VMOVUPS(mem(totals, 0), x)
		g.VPSUBD(base, x, k)
		g.VPAND(mantissa, k, m)
		g.VPADDD(base, m, m)
		g.VSUBPS(one, m, m)
		g.VPSRAD(operand.U8(23), k, k)
		g.VCVTDQ2PS(k, k)
		g.VMULPS(m, m, z)
		g.VMOVUPS(terms[0], p)
		for _, term := range terms[1:] {
			g.VFMADD213PS(term, m, p)
		}
		g.VMULPS(m, z, t)
		g.VMULPS(t, p, p)
		g.VFNMADD231PS(low, k, p)
		g.VFNMADD231PS(half, z, p)
		g.VADDPS(p, m, m)
		g.VFMADD231PS(high, k, m)
		g.VMOVUPS(largest, t)
		g.VCMPPS(operand.U8(6), t, x, t) // x is not at most the largest number
		g.VBLENDVPS(t, x, m, m)
		g.VMOVUPS(least, t)
		g.VCMPPS(operand.U8(1), t, x, t) // x is less than the least normal number
		g.VBLENDVPS(t, lowest, m, m)
		g.VADDPS(mem(tops, 0), m, m)
		g.VMOVUPS(m, mem(lses, 0))
		g.VMOVUPS(one, t)
		g.VDIVPS(x, t, t)
		g.VXORPS(z, z, z)
		g.VCMPPS(operand.U8(4), z, x, z) // x is not 0, or not a number
		g.VANDPS(z, t, t)
		g.VMOVUPS(t, mem(totals, 0))
		for _, q := range []reg.Register{lses, tops, totals} {
			g.ADDQ(operand.U8(vector), q)
		}
	})
	g.leave()
}
