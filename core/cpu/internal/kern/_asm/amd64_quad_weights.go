// SPDX-License-Identifier: MIT

package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// wideExponent holds the constants of exp32 in registers.
type wideExponent struct {
	lowest, log2e, magic, high, low reg.VecVirtual
	terms                           []reg.VecVirtual
}

func (g *amd64) everywhere(from operand.Mem) reg.VecVirtual {
	r := g.ZMM()
	g.VBROADCASTSS(from, r)
	return r
}

func (g *amd64) newWideExponent(e *exponent) (w wideExponent) {
	w.lowest, w.log2e, w.magic = g.everywhere(e.lowest), g.everywhere(e.log2e), g.everywhere(e.magic)
	w.high, w.low = g.everywhere(e.high), g.everywhere(e.low)
	for _, term := range e.terms[:len(e.terms)-1] { // the last two are 1
		w.terms = append(w.terms, g.everywhere(term))
	}
	w.terms = append(w.terms, w.terms[len(w.terms)-1])
	return w
}

// wideExp replaces the lanes of x by e**x if they are in the mask, else by 0.
func (g *amd64) wideExp(e *wideExponent, x reg.VecVirtual, mask reg.Register) {
	keep, n, p := g.K(), g.ZMM(), g.ZMM()
	g.VCMPPS(operand.U8(5), e.lowest, x, mask, keep) // not less than, or unordered (NaN)
	g.VMOVAPS(e.magic, n)
	g.VFMADD231PS(e.log2e, x, n)
	g.VSUBPS(e.magic, n, n)
	g.VFNMADD231PS(e.high, n, x)
	g.VFNMADD231PS(e.low, n, x)
	g.VMOVAPS(e.terms[0], p)
	for _, term := range e.terms[1:] {
		g.VFMADD213PS(term, x, p)
	}
	g.VSCALEFPS_Z(n, p, keep, x)
}

// quadVectors is a loop over the vectors of a quad's four items.
type quadVectors struct {
	quads, scores reg.Register
	gradients     reg.Register                                     // same layout as scores, or nil
	next          func()                                           // called before each group; may be nil
	column        func(column int)                                 // called before each vector of a group; may be nil
	each          func(q int, x, y operand.Mem, mask reg.Register) // x in scores, y in gradients; may overwrite the mask
}

func (g *amd64) eachQuadVector(w quadVectors) {
	narrow, done := g.label("narrow"), g.label("done")
	g.CMPQ(g.parameter("Wide"), operand.U8(1))
	g.JEQ(operand.LabelRef(narrow))
	g.eachQuadVectorOf(2, w)
	g.JMP(operand.LabelRef(done))
	g.Label(narrow)
	g.eachQuadVectorOf(1, w)
	g.Label(done)
}

func (g *amd64) eachQuadVectorOf(columns int, w quadVectors) {
	item := g.arg("WeightItem")
	item3 := g.GP64()
	g.LEAQ(operand.Mem{Base: item, Index: item, Scale: 2}, item3)
	places := []reg.Register{g.GP64()}
	g.MOVQ(w.scores, places[0])
	if w.gradients != nil {
		places = append(places, g.GP64())
		g.MOVQ(w.gradients, places[1])
	}
	masks := g.arg("Masks")
	g.repeat(g.arg("Groups"), func() {
		if w.next != nil {
			w.next()
		}
		for column := range columns {
			if w.column != nil {
				w.column(column)
			}
			for q := range 4 {
				bits, mask := g.GP32(), g.K()
				g.MOVL(mem(w.quads, quad.at("Masks")+4*(q%2)), bits)
				if column > 0 {
					g.SHRL(operand.U8(16), bits)
				}
				g.ANDL(mem(masks, 4*(q/2)), bits)
				g.KMOVW(bits, mask)
				at := [2]operand.Mem{}
				for i, place := range places {
					at[i] = []operand.Mem{{Base: place}, sum(place, item), {Base: place, Index: item, Scale: 2}, sum(place, item3)}[q]
					at[i].Disp = wide * column
				}
				w.each(q, at[0], at[1], mask)
			}
		}
		for _, place := range places {
			g.ADDQ(g.parameter("GroupStep"), place)
		}
		g.ADDQ(operand.U8(8), masks)
	})
}

// foldQuad reduces each of four vectors to one number. All lanes of quarter i of the result
// hold the number of v[i].
func (g *amd64) foldQuad(v []reg.VecVirtual, combine func(ops ...operand.Op)) reg.VecVirtual {
	pair := func(a, b reg.VecVirtual, low, high int) reg.VecVirtual {
		s, t := g.ZMM(), g.ZMM()
		g.VSHUFF32X4(operand.U8(low), b, a, s)
		g.VSHUFF32X4(operand.U8(high), b, a, t)
		combine(s, t, s)
		return s
	}
	r := pair(pair(v[0], v[1], 0x44, 0xee), pair(v[2], v[3], 0x44, 0xee), 0x88, 0xdd)
	for _, order := range []int{0x4e, 0xb1} {
		t := g.ZMM()
		g.VPERMILPS(operand.U8(order), r, t)
		combine(r, t, r)
	}
	return r
}

// logarithm holds the constants of log32 in memory.
type logarithm struct {
	root, mantissa, one, half, high, low operand.Mem
	terms                                []operand.Mem
}

func (g *amd64) newLogarithm() (l logarithm) {
	c := &abi.Log
	l.root, l.mantissa = g.constant("logRoot", c.Root), g.constant("logMantissa", c.Mantissa)
	l.one, l.half = g.number("logOne", 1), g.number("logHalf", c.Half)
	l.high, l.low = g.number("logHigh", c.High), g.number("logLow", c.Low)
	for i, v := range c.Terms {
		l.terms = append(l.terms, g.number("logTerm"+string(rune('0'+i)), v))
	}
	return l
}

// wideLog returns the logarithms of the lanes of x, which are normal numbers, or NaN.
func (g *amd64) wideLog(l *logarithm, x reg.VecVirtual) reg.VecVirtual {
	k, m, z, p := g.ZMM(), g.ZMM(), g.ZMM(), g.ZMM()
	g.VPSUBD_BCST(l.root, x, m)
	g.VPSRAD(operand.U8(23), m, k)
	g.VCVTDQ2PS(k, k)
	g.VPANDD_BCST(l.mantissa, m, m)
	g.VPADDD_BCST(l.root, m, m)
	g.VSUBPS_BCST(l.one, m, m)
	g.VMULPS(m, m, z)
	g.VBROADCASTSS(l.terms[0], p)
	for _, term := range l.terms[1:] {
		g.VFMADD213PS_BCST(term, m, p)
	}
	g.VMULPS(m, p, p)
	g.VMULPS(z, p, p)
	g.VFMADD231PS_BCST(l.low, k, p)
	g.VFNMADD231PS_BCST(l.half, z, p)
	g.VADDPS(m, p, p)
	g.VFMADD231PS_BCST(l.high, k, p)
	g.VSUBPS(x, x, z) // NaN for NaN
	g.VADDPS(z, p, p)
	return p
}

// storePairs stores the first two lanes of v at an address and the next two a row later. It
// returns the address another row later.
func (g *amd64) storePairs(v reg.VecVirtual, to, row reg.Register) reg.GPVirtual {
	next := g.GP64()
	g.VMOVLPS(v.AsX(), mem(to, 0))
	g.VMOVHPS(v.AsX(), sum(to, row))
	g.LEAQ(operand.Mem{Base: to, Index: row, Scale: 2}, next)
	return next
}

func (g *amd64) softmaxQuads(e *exponent) {
	quarters := g.StaticGlobal("quarters")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		g.AddDatum(4*i, operand.U32(4*i%16))
	}
	g.functionOf(block, "softmaxQuadsAVX512",
		"softmaxQuadsAVX512 is SoftmaxQuads with 16 lanes.")
	g.copyFields("Weights", "Quads", "Masks", "LSE", "Count", "Groups", "Wide", "GroupStep", "WeightItem", "NumberRow")
	logs := g.newLogarithm()
	constants, order := g.newWideExponent(e), g.ZMM()
	lowest := g.everywhere(g.negativeInfinity)
	endless := g.everywhere(g.number("infinity", float32(math.Inf(1))))
	g.VMOVUPS(quarters, order)
	scores, quads, numbers := g.arg("Weights"), g.arg("Quads"), g.arg("LSE")
	g.repeat(g.arg("Count"), func() {
		tops := g.registers(4, g.ZMM)
		for _, t := range tops {
			g.VMOVAPS(lowest, t)
		}
		g.eachQuadVector(quadVectors{quads: quads, scores: scores, each: func(q int, x, _ operand.Mem, mask reg.Register) {
			g.VMAXPS(x, tops[q], mask, tops[q])
		}})
		top, lse, some := g.foldQuad(tops, g.VMAXPS), g.ZMM(), g.K()
		g.VMOVAPS(top, lse)
		g.VCMPPS(operand.U8(4), lowest, top, some) // not equal
		g.VMOVAPS_Z(top, some, top)
		totals := g.registers(4, g.ZMM)
		for q := range 4 {
			g.VSHUFF32X4(operand.U8(0x55*q), top, top, tops[q])
		}
		g.zero(totals)
		g.eachQuadVector(quadVectors{quads: quads, scores: scores, each: func(q int, at, _ operand.Mem, mask reg.Register) {
			x := g.ZMM()
			g.VMOVUPS(at, x)
			g.VSUBPS(tops[q], x, x)
			g.wideExp(&constants, x, mask)
			g.VADDPS(x, totals[q], totals[q])
			g.VMOVUPS(x, at)
		}})
		total, one := g.foldQuad(totals, g.VADDPS), g.ZMM()
		g.VADDPS(g.wideLog(&logs, total), lse, lse)
		seen := g.ZMM() // the sums, or infinity for items that see nothing, so that the inverse is 0
		g.VMOVAPS(endless, seen)
		g.VMOVAPS(total, some, seen)
		g.VPERMPS(lse, order, lse)
		row := g.arg("NumberRow")
		place := g.storePairs(lse, numbers, row)
		g.VPERMPS(seen, order, total)
		g.VDIVPS(total.AsX(), constants.terms[len(constants.terms)-1].AsX(), one.AsX())
		g.storePairs(one, place, row)
		g.ADDQ(operand.U8(8), numbers)
		g.nextQuad(quads, scores)
	})
	g.leave()
}

// gradientQuads writes the gradient of the softmax.
func (g *amd64) gradientQuads(e *exponent) {
	g.functionOf(block, "gradientItemsAVX512", "gradientItemsAVX512 is GradientItems with 16 lanes.")
	g.copyFields("Weights", "Gradients", "Quads", "Masks", "LSE", "Delta", "Count", "Groups", "Wide", "GroupStep", "WeightItem", "NumberRow")
	constants := g.newWideExponent(e)
	scores, gradients, quads := g.arg("Weights"), g.arg("Gradients"), g.arg("Quads")
	lse, delta := g.arg("LSE"), g.arg("Delta")
	g.repeat(g.arg("Count"), func() {
		offsets, deltas, row := g.registers(4, g.ZMM), g.registers(4, g.ZMM), g.arg("NumberRow")
		for q := range 4 {
			at := []operand.Mem{mem(lse, 0), mem(lse, 4), sum(lse, row), sum(lse, row)}[q]
			by := []operand.Mem{mem(delta, 0), mem(delta, 4), sum(delta, row), sum(delta, row)}[q]
			at.Disp, by.Disp = q%2*4, q%2*4
			g.VBROADCASTSS(at, offsets[q])
			g.VBROADCASTSS(by, deltas[q])
		}
		g.eachQuadVector(quadVectors{quads: quads, scores: scores, gradients: gradients,
			each: func(q int, at, by operand.Mem, mask reg.Register) {
				x, y := g.ZMM(), g.ZMM()
				g.VMOVUPS(at, x)
				g.VSUBPS(offsets[q], x, x)
				g.wideExp(&constants, x, mask)
				g.VMOVUPS(x, at)
				g.VMOVUPS(by, y)
				g.VSUBPS(deltas[q], y, y)
				g.VMULPS(y, x, x)
				g.VMOVUPS(x, by)
			}})
		g.ADDQ(operand.U8(8), lse)
		g.ADDQ(operand.U8(8), delta)
		g.nextQuad(quads, scores, gradients)
	})
	g.leave()

	g.functionOf(block, "gradientLanesAVX512", "gradientLanesAVX512 is GradientLanes with 16 lanes.")
	g.copyFields("Weights", "Gradients", "Quads", "Masks", "LSE", "Delta", "Count", "Groups", "Wide", "GroupStep", "WeightItem", "Offsets")
	constants = g.newWideExponent(e)
	scores, gradients, quads = g.arg("Weights"), g.arg("Gradients"), g.arg("Quads")
	g.repeat(g.arg("Count"), func() {
		offsets, place := g.arg("Offsets"), g.GP64()
		o, d := g.ZMM(), g.ZMM()
		g.eachQuadVector(quadVectors{quads: quads, scores: scores, gradients: gradients,
			next: func() {
				g.MOVQ(mem(offsets, 0), place)
				g.ADDQ(mem(quads, quad.at("Panel")), place)
				g.ADDQ(operand.U8(8), offsets)
			},
			column: func(column int) {
				from := g.arg("LSE")
				at := sum(from, place)
				at.Disp = wide * column
				g.VMOVUPS(at, o)
				from = g.arg("Delta")
				at = sum(from, place)
				at.Disp = wide * column
				g.VMOVUPS(at, d)
			},
			each: func(_ int, at, by operand.Mem, mask reg.Register) {
				x, y := g.ZMM(), g.ZMM()
				g.VMOVUPS(at, x)
				g.VSUBPS(o, x, x)
				g.wideExp(&constants, x, mask)
				g.VMOVUPS(x, at)
				g.VMOVUPS(by, y)
				g.VSUBPS(d, y, y)
				g.VMULPS(y, x, x)
				g.VMOVUPS(x, by)
			}})
		g.nextQuad(quads, scores, gradients)
	})
	g.leave()
}

// nextQuad advances to the next quad.
func (g *amd64) nextQuad(quads reg.Register, of ...reg.Register) {
	item := g.arg("WeightItem")
	for _, p := range of {
		g.LEAQ(operand.Mem{Base: p, Index: item, Scale: 4}, p)
	}
	g.ADDQ(operand.U8(quad.size), quads)
}
