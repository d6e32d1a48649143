// SPDX-License-Identifier: MIT

package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// constant makes a float32 constant that occupies 8 lanes.
func (g *amd64) constant(name string, bits uint32) operand.Mem {
	m := g.StaticGlobal(name)
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 8 {
		g.AddDatum(4*i, operand.U32(bits))
	}
	return m
}

func (g *amd64) number(name string, v float32) operand.Mem {
	return g.constant(name, math.Float32bits(v))
}

// exponent holds the constants of exp32 of package kern.
type exponent struct {
	lowest, highest, log2e, magic, high, low, bias operand.Mem
	terms                                          []operand.Mem
}

func (g *amd64) newExponent() exponent {
	c := &abi.Exp
	e := exponent{
		lowest: g.number("expLowest", c.Lowest), highest: g.number("expHighest", c.Highest),
		log2e: g.number("expLog2e", c.Log2E), magic: g.number("expMagic", c.Magic),
		high: g.number("expHigh", c.High), low: g.number("expLow", c.Low),
		bias: g.constant("expBias", 127<<23),
	}
	for i, v := range c.Terms {
		e.terms = append(e.terms, g.number("expTerm"+string(rune('0'+i)), v))
	}
	return e
}

// exp replaces the lanes of x by e**x; see exp32.
func (g *amd64) exp(e *exponent, x reg.VecVirtual) {
	keep, n, r, p := g.YMM(), g.YMM(), g.YMM(), g.YMM()
	g.VCMPPS(operand.U8(5), e.lowest, x, keep) // not less than, or unordered (NaN)
	g.VMOVUPS(e.highest, r)
	g.VMINPS(x, r, r)
	g.VMOVUPS(e.magic, n)
	g.VFMADD231PS(e.log2e, r, n)
	g.VSUBPS(e.magic, n, p)
	g.VFNMADD231PS(e.high, p, r)
	g.VFNMADD231PS(e.low, p, r)
	g.VMOVUPS(e.terms[0], p)
	for _, term := range e.terms[1:] {
		g.VFMADD213PS(term, r, p)
	}
	g.VPSLLD(operand.U8(23), n, n)
	g.VPADDD(e.bias, n, n)
	g.VMULPS(n, p, p)
	g.VANDPS(keep, p, x)
}

// eachVector calls f for each of slots*columns vectors, with its mask.
func (g *amd64) eachVector(row reg.Register, f func(mask operand.Mem, column reg.Register), nextSlot func()) {
	slots := g.arg("slots")
	g.repeat(slots, func() {
		columns, masks := g.arg("columns"), g.arg("masks")
		g.repeat(columns, func() {
			f(mem(masks, 0), masks)
			g.ADDQ(operand.U8(vector), row)
			g.ADDQ(operand.U8(vector), masks)
		})
		if nextSlot != nil {
			nextSlot()
		}
	})
}

// exponentials writes the passes of the softmax over one row.
func (g *amd64) exponentials(e *exponent) {
	g.function("maxRowAVX2", "func(row, masks unsafe.Pointer, slots, columns int) float32",
		"maxRowAVX2 is the maximum of the lanes of slots x columns vectors of 8 that masks,",
		"one vector a column, lets through.")
	row, top, lowest := g.arg("row"), g.YMM(), g.YMM()
	g.negativeInfinity = g.number("negativeInfinity", float32(math.Inf(-1)))
	g.VMOVUPS(g.negativeInfinity, lowest)
	g.VMOVUPS(lowest, top)
	g.eachVector(row, func(mask operand.Mem, _ reg.Register) {
		m, x := g.YMM(), g.YMM()
		g.VMOVUPS(mask, m)
		g.VBLENDVPS(m, mem(row, 0), lowest, x)
		g.VMAXPS(top, x, top)
	}, nil)
	g.fold(top, g.VMAXPS)
	g.Store(top.AsX(), g.ReturnIndex(0))
	g.leave()

	g.function("expRowAVX2", "func(row, masks unsafe.Pointer, slots, columns int, offset float32) float32",
		"expRowAVX2 replaces each x that masks lets through by e**(x-offset), the others by",
		"0, and returns the sum.")
	row, total := g.arg("row"), g.YMM()
	g.VXORPS(total, total, total)
	offset := g.YMM()
	g.VBROADCASTSS(g.parameter("offset"), offset)
	g.eachVector(row, func(mask operand.Mem, _ reg.Register) {
		x := g.YMM()
		g.VMOVUPS(mem(row, 0), x)
		g.VSUBPS(offset, x, x)
		g.exp(e, x)
		g.VANDPS(mask, x, x)
		g.VADDPS(x, total, total)
		g.VMOVUPS(x, mem(row, 0))
	}, nil)
	g.fold(total, g.VADDPS)
	g.Store(total.AsX(), g.ReturnIndex(0))
	g.leave()

	g.softmax(e)

	g.function("expLanesAVX2", "func(row, masks, offsets unsafe.Pointer, slots, columns, offsetSkip int)",
		"expLanesAVX2 is expRowAVX2 with an offset for every lane. offsetSkip is the number",
		"of bytes from the last offset of a slot to the first of the next.")
	row, offsets := g.arg("row"), g.arg("offsets")
	g.eachVector(row, func(mask operand.Mem, _ reg.Register) {
		x := g.YMM()
		g.VMOVUPS(mem(row, 0), x)
		g.VSUBPS(mem(offsets, 0), x, x)
		g.exp(e, x)
		g.VANDPS(mask, x, x)
		g.VMOVUPS(x, mem(row, 0))
		g.ADDQ(operand.U8(vector), offsets)
	}, func() { g.ADDQ(g.arg("offsetSkip"), offsets) })
	g.leave()
}

// softmax writes the kernel with both passes of the softmax, for many items.
func (g *amd64) softmax(e *exponent) {
	g.function("softmaxAVX2",
		"func(rows, masks, max, sums unsafe.Pointer, items, slots, columns, rowStep, maskStep int)",
		"softmaxAVX2 is, with steps in bytes,",
		"",
		"\tfor i := range items {",
		"\t\tmax[i] = maxRow(rows[i*rowStep:], masks[i*maskStep:], slots, columns)",
		"\t\tsums[i] = expRow(rows[i*rowStep:], masks[i*maskStep:], slots, columns, max[i] or 0 if that is -infinity) }")
	rows, masks := g.arg("rows"), g.arg("masks")
	max, sums := g.arg("max"), g.arg("sums")
	lowest := g.YMM()
	g.VMOVUPS(g.negativeInfinity, lowest)
	g.repeat(g.arg("items"), func() {
		row, top := g.GP64(), g.YMM()
		g.MOVQ(rows, row)
		g.VMOVUPS(lowest, top)
		g.eachMasked(row, masks, func(mask operand.Mem) {
			m, x := g.YMM(), g.YMM()
			g.VMOVUPS(mask, m)
			g.VBLENDVPS(m, mem(row, 0), lowest, x)
			g.VMAXPS(top, x, top)
		})
		g.fold(top, g.VMAXPS)
		g.VMOVSS(top.AsX(), mem(max, 0))
		total, none := g.YMM(), g.YMM()
		g.VXORPS(total, total, total)
		g.VCMPPS(operand.U8(4), lowest.AsX(), top.AsX(), none.AsX()) // not equal
		g.VANDPS(none.AsX(), top.AsX(), top.AsX())
		g.VBROADCASTSS(top.AsX(), top)
		g.MOVQ(rows, row)
		g.eachMasked(row, masks, func(mask operand.Mem) {
			x := g.YMM()
			g.VMOVUPS(mem(row, 0), x)
			g.VSUBPS(top, x, x)
			g.exp(e, x)
			g.VANDPS(mask, x, x)
			g.VADDPS(x, total, total)
			g.VMOVUPS(x, mem(row, 0))
		})
		g.fold(total, g.VADDPS)
		g.VMOVSS(total.AsX(), mem(sums, 0))
		g.ADDQ(operand.U8(4), max)
		g.ADDQ(operand.U8(4), sums)
		g.ADDQ(g.arg("rowStep"), rows)
		g.ADDQ(g.arg("maskStep"), masks)
	})
	g.leave()
}

// eachMasked is eachVector with masks at the address in a register.
func (g *amd64) eachMasked(row, first reg.Register, f func(mask operand.Mem)) {
	g.repeat(g.arg("slots"), func() {
		masks := g.GP64()
		g.MOVQ(first, masks)
		g.repeat(g.arg("columns"), func() {
			f(mem(masks, 0))
			g.ADDQ(operand.U8(vector), row)
			g.ADDQ(operand.U8(vector), masks)
		})
	})
}

// gradients writes the gradient of the softmax.
func (g *amd64) gradients() {
	g.function("gradientRowAVX2", "func(row, gradient unsafe.Pointer, vectors int, delta float32)",
		"gradientRowAVX2 is",
		"",
		"\tfor i := range 8*vectors { row[i] *= gradient[i] - delta }")
	row, gradient, vectors, delta := g.arg("row"), g.arg("gradient"), g.arg("vectors"), g.YMM()
	g.VBROADCASTSS(g.parameter("delta"), delta)
	g.repeat(vectors, func() {
		x := g.YMM()
		g.VMOVUPS(mem(gradient, 0), x)
		g.VSUBPS(delta, x, x)
		g.VMULPS(mem(row, 0), x, x)
		g.VMOVUPS(x, mem(row, 0))
		g.ADDQ(operand.U8(vector), row)
		g.ADDQ(operand.U8(vector), gradient)
	})
	g.leave()

	g.function("gradientLanesAVX2", "func(row, gradient, deltas unsafe.Pointer, slots, columns, deltaSkip int)",
		"gradientLanesAVX2 is gradientRowAVX2 with a delta for every lane; deltaSkip is as",
		"in expLanesAVX2.")
	row, gradient = g.arg("row"), g.arg("gradient")
	deltas := g.arg("deltas")
	g.repeat(g.arg("slots"), func() {
		g.repeat(g.arg("columns"), func() {
			x := g.YMM()
			g.VMOVUPS(mem(gradient, 0), x)
			g.VSUBPS(mem(deltas, 0), x, x)
			g.VMULPS(mem(row, 0), x, x)
			g.VMOVUPS(x, mem(row, 0))
			for _, p := range []reg.Register{row, gradient, deltas} {
				g.ADDQ(operand.U8(vector), p)
			}
		})
		g.ADDQ(g.arg("deltaSkip"), deltas)
	})
	g.leave()
}

// conversions writes loads and stores of rows whose channels are a multiple of 8.
func (g *amd64) conversions() {
	quiet, round, one := g.constant("bfloatQuiet", 0x00400000), g.constant("bfloatRound", 0x7fff), g.constant("bfloatOne", 1)
	g.convert("loadFloat32AVX2", 4, 4, func(src, dst operand.Mem, x reg.VecVirtual, factor reg.VecVirtual) {
		g.VMULPS(src, factor, x)
		g.VMOVUPS(x, dst)
	})
	g.convert("loadFloat16AVX2", 4, 2, func(src, dst operand.Mem, x reg.VecVirtual, factor reg.VecVirtual) {
		g.VCVTPH2PS(src, x)
		g.VMULPS(factor, x, x)
		g.VMOVUPS(x, dst)
	})
	g.convert("loadBFloat16AVX2", 4, 2, func(src, dst operand.Mem, x reg.VecVirtual, factor reg.VecVirtual) {
		g.VPMOVZXWD(src, x)
		g.VPSLLD(operand.U8(16), x, x)
		g.VMULPS(factor, x, x)
		g.VMOVUPS(x, dst)
	})
	g.convert("storeFloat16AVX2", 2, 4, func(src, dst operand.Mem, x reg.VecVirtual, factor reg.VecVirtual) {
		g.VMULPS(src, factor, x)
		g.VCVTPS2PH(operand.U8(0), x, dst)
	})
	g.convert("storeBFloat16AVX2", 2, 4, func(src, dst operand.Mem, x reg.VecVirtual, factor reg.VecVirtual) {
		nan, t := g.YMM(), g.YMM()
		g.VMULPS(src, factor, x)
		g.VCMPPS(operand.U8(3), x, x, nan) // not a number
		g.VPSRLD(operand.U8(16), x, t)
		g.VPAND(one, t, t)
		g.VPADDD(round, t, t)
		g.VPADDD(x, t, t)
		g.VORPS(quiet, x, x)
		g.VBLENDVPS(nan, x, t, t)
		g.VPSRLD(operand.U8(16), t, t)
		g.VEXTRACTI128(operand.U8(1), t, x.AsX())
		g.VPACKUSDW(x.AsX(), t.AsX(), x.AsX())
		g.VMOVUPS(x.AsX(), dst)
	})
}

func (g *amd64) convert(name string, to, from int, f func(src, dst operand.Mem, x, factor reg.VecVirtual)) {
	g.function(name, "func(dst, src, factors unsafe.Pointer, rows, blocks, dstStep, srcStep, factorStep int)",
		name+" is, with steps in bytes and the conversion of its name,",
		"",
		"\tfor r := range rows { for c := range 8*blocks {",
		"\t\tdst[r*dstStep+c] = src[r*srcStep+c] * factors[r*factorStep] } }")
	dst, src, factor := g.arg("dst"), g.arg("src"), g.YMM()
	rows, dstStep, srcStep := g.arg("rows"), g.arg("dstStep"), g.arg("srcStep")
	factors, factorStep := g.arg("factors"), g.arg("factorStep")
	g.repeat(rows, func() {
		g.VBROADCASTSS(mem(factors, 0), factor)
		g.ADDQ(factorStep, factors)
		d, s, blocks := g.GP64(), g.GP64(), g.arg("blocks")
		g.MOVQ(dst, d)
		g.MOVQ(src, s)
		g.repeat(blocks, func() {
			f(mem(s, 0), mem(d, 0), g.YMM(), factor)
			g.ADDQ(operand.U8(8*from), s)
			g.ADDQ(operand.U8(8*to), d)
		})
		g.ADDQ(dstStep, dst)
		g.ADDQ(srcStep, src)
	})
	g.leave()
}
