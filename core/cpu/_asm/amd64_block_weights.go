// SPDX-License-Identifier: MIT

package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
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

// wideExp replaces the lanes of x in the mask by e**x, the others by 0.
func (g *amd64) wideExp(e *wideExponent, x reg.VecVirtual, mask reg.Register) {
	keep, n, p := g.K(), g.ZMM(), g.ZMM()
	g.VCMPPS(operand.U8(5), e.lowest, x, mask, keep) // not less than, or not a number
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

// blockVectors goes through the vectors of a block's four items.
type blockVectors struct {
	blocks, scores reg.Register
	gradients      reg.Register                                     // of the four items too, or nil
	next           func()                                           // begins with the next vector of every item; may be nil
	column         func(column int)                                 // begins with a column of it; may be nil
	each           func(q int, x, y operand.Mem, mask reg.Register) // x in scores, y in gradients; may use the mask up
}

func (g *amd64) eachBlockVector(w blockVectors) {
	narrow, done := g.label("narrow"), g.label("done")
	g.CMPQ(g.parameter("wide"), operand.U8(1))
	g.JEQ(operand.LabelRef(narrow))
	g.eachBlockVectorOf(2, w)
	g.JMP(operand.LabelRef(done))
	g.Label(narrow)
	g.eachBlockVectorOf(1, w)
	g.Label(done)
}

func (g *amd64) eachBlockVectorOf(columns int, w blockVectors) {
	item := g.arg("item")
	item3 := g.GP64()
	g.LEAQ(operand.Mem{Base: item, Index: item, Scale: 2}, item3)
	places := []reg.Register{g.GP64()}
	g.MOVQ(w.scores, places[0])
	if w.gradients != nil {
		places = append(places, g.GP64())
		g.MOVQ(w.gradients, places[1])
	}
	masks := g.arg("masks")
	g.repeat(g.arg("vectors"), func() {
		if w.next != nil {
			w.next()
		}
		for column := range columns {
			if w.column != nil {
				w.column(column)
			}
			for q := range 4 {
				bits, mask := g.GP32(), g.K()
				g.MOVL(mem(w.blocks, blockMasks+4*(q%2)), bits)
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
			g.ADDQ(g.parameter("step"), place)
		}
		g.ADDQ(operand.U8(8), masks)
	})
}

// foldBlock combines the lanes of each of four vectors; the quarter i of the
// result has the result of v[i] in all its lanes.
func (g *amd64) foldBlock(v []reg.VecVirtual, combine func(ops ...operand.Op)) reg.VecVirtual {
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
	l.root, l.mantissa = g.constant("logRoot", 0x3f3504f3), g.constant("logMantissa", 0x7fffff)
	l.one, l.half = g.number("logOne", 1), g.number("logHalf", 0.5)
	l.high, l.low = g.number("logHigh", 0.693359375), g.number("logLow", -2.12194440e-4)
	for i, v := range []float32{7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1} {
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

// storePairs stores the first two lanes of v to a place and the next two to the row
// behind it, and returns the place in the row behind that.
func (g *amd64) storePairs(v reg.VecVirtual, to, row reg.Register) reg.GPVirtual {
	next := g.GP64()
	g.VMOVLPS(v.AsX(), mem(to, 0))
	g.VMOVHPS(v.AsX(), sum(to, row))
	g.LEAQ(operand.Mem{Base: to, Index: row, Scale: 2}, next)
	return next
}

func (g *amd64) softmaxBlocks(e *exponent) {
	quarters := g.StaticGlobal("quarters")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		g.AddDatum(4*i, operand.U32(4*i%16))
	}
	g.function("softmaxBlocksAVX512",
		"func(scores, blocks, masks, statistics unsafe.Pointer, count, vectors, wide, step, item, row int)",
		"softmaxBlocksAVX512 is, for each of count blocks and each of its items q, with 1 or 2 as",
		"wide and step, item and row in bytes,",
		"",
		"\tx := the 16*wide scores from scores[(4*i+q)*item+v*step] on for every v < vectors",
		"\tmask := block.masks[q%2] & masks[2*v+q/2], one bit an element; that of the masks is repeated",
		"\tmaximum := the maximum of x in the mask",
		"\tx = e**(x-maximum) in the mask, otherwise 0; a maximum of -infinity counts as 0",
		"\tstatistics[q/2*row+2*i+q%2] = maximum + log(sum of x)",
		"\tstatistics[(2+q/2)*row+2*i+q%2] = 1 / sum of x")
	logs := g.newLogarithm()
	constants, order := g.newWideExponent(e), g.ZMM()
	lowest := g.everywhere(g.negativeInfinity)
	g.VMOVUPS(quarters, order)
	scores, blocks, statistics := g.arg("scores"), g.arg("blocks"), g.arg("statistics")
	g.repeat(g.arg("count"), func() {
		tops := g.registers(4, g.ZMM)
		for _, t := range tops {
			g.VMOVAPS(lowest, t)
		}
		g.eachBlockVector(blockVectors{blocks: blocks, scores: scores, each: func(q int, x, _ operand.Mem, mask reg.Register) {
			g.VMAXPS(x, tops[q], mask, tops[q])
		}})
		top, lse, some := g.foldBlock(tops, g.VMAXPS), g.ZMM(), g.K()
		g.VMOVAPS(top, lse)
		g.VCMPPS(operand.U8(4), lowest, top, some) // not equal
		g.VMOVAPS_Z(top, some, top)
		totals := g.registers(4, g.ZMM)
		for q := range 4 {
			g.VSHUFF32X4(operand.U8(0x55*q), top, top, tops[q])
		}
		g.zero(totals)
		g.eachBlockVector(blockVectors{blocks: blocks, scores: scores, each: func(q int, at, _ operand.Mem, mask reg.Register) {
			x := g.ZMM()
			g.VMOVUPS(at, x)
			g.VSUBPS(tops[q], x, x)
			g.wideExp(&constants, x, mask)
			g.VADDPS(x, totals[q], totals[q])
			g.VMOVUPS(x, at)
		}})
		total, one := g.foldBlock(totals, g.VADDPS), g.ZMM()
		g.VADDPS(g.wideLog(&logs, total), lse, lse)
		g.VPERMPS(lse, order, lse)
		row := g.arg("row")
		place := g.storePairs(lse, statistics, row)
		g.VPERMPS(total, order, total)
		g.VDIVPS(total.AsX(), constants.terms[len(constants.terms)-1].AsX(), one.AsX())
		g.storePairs(one, place, row)
		g.ADDQ(operand.U8(8), statistics)
		g.nextBlock(blocks, scores)
	})
	g.leave()
}

// gradientBlocks writes the gradient of the softmax.
func (g *amd64) gradientBlocks(e *exponent) {
	g.function("gradientItemsAVX512",
		"func(scores, gradients, blocks, masks, lse, delta unsafe.Pointer, count, vectors, wide, step, item, row int)",
		"gradientItemsAVX512 is, with x, y and mask of scores and gradients as in softmaxBlocksAVX512",
		"and a number of lse and of delta for every item, at q/2*row+2*i+q%2,",
		"",
		"\tx = e**(x-lse) in the mask, otherwise 0",
		"\ty = x * (y-delta) in the mask, otherwise undefined")
	constants := g.newWideExponent(e)
	scores, gradients, blocks := g.arg("scores"), g.arg("gradients"), g.arg("blocks")
	lse, delta := g.arg("lse"), g.arg("delta")
	g.repeat(g.arg("count"), func() {
		offsets, deltas, row := g.registers(4, g.ZMM), g.registers(4, g.ZMM), g.arg("row")
		for q := range 4 {
			at := []operand.Mem{mem(lse, 0), mem(lse, 4), sum(lse, row), sum(lse, row)}[q]
			by := []operand.Mem{mem(delta, 0), mem(delta, 4), sum(delta, row), sum(delta, row)}[q]
			at.Disp, by.Disp = q%2*4, q%2*4
			g.VBROADCASTSS(at, offsets[q])
			g.VBROADCASTSS(by, deltas[q])
		}
		g.eachBlockVector(blockVectors{blocks: blocks, scores: scores, gradients: gradients,
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
		g.nextBlock(blocks, scores, gradients)
	})
	g.leave()

	g.function("gradientLanesAVX512",
		"func(scores, gradients, blocks, masks, lse, delta, offsets unsafe.Pointer, count, vectors, wide, step, item int)",
		"gradientLanesAVX512 is, with numbers of lse and delta for every lane as in one channel of a",
		"score panel, at block.panel+offsets[v],",
		"",
		"\tx = e**(x-lse) in the mask, otherwise 0",
		"\ty = x * (y-delta) in the mask, otherwise undefined")
	constants = g.newWideExponent(e)
	scores, gradients, blocks = g.arg("scores"), g.arg("gradients"), g.arg("blocks")
	g.repeat(g.arg("count"), func() {
		offsets, place := g.arg("offsets"), g.GP64()
		o, d := g.ZMM(), g.ZMM()
		g.eachBlockVector(blockVectors{blocks: blocks, scores: scores, gradients: gradients,
			next: func() {
				g.MOVQ(mem(offsets, 0), place)
				g.ADDQ(mem(blocks, blockPanel), place)
				g.ADDQ(operand.U8(8), offsets)
			},
			column: func(column int) {
				from := g.arg("lse")
				at := sum(from, place)
				at.Disp = wide * column
				g.VMOVUPS(at, o)
				from = g.arg("delta")
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
		g.nextBlock(blocks, scores, gradients)
	})
	g.leave()
}

// nextBlock moves on to the next block.
func (g *amd64) nextBlock(blocks reg.Register, of ...reg.Register) {
	item := g.arg("item")
	for _, p := range of {
		g.LEAQ(operand.Mem{Base: p, Index: item, Scale: 4}, p)
	}
	g.ADDQ(operand.U8(blockBytes), blocks)
}
