// SPDX-License-Identifier: MIT

package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blocksAVX2 writes the kernels for quads for AVX2. Sums take at most 12 of 16 registers.
func (g *amd64) blocksAVX2(e *exponent) {
	g.quads = quadWidth{width{g.YMM, "AVX2", vector}, 3, []int{3, 2, 1}, scoreClasses}
	g.scoreQuads()
	g.accumulateQuads()
	g.scatterQuads()
	g.transposeLanes()
	g.dotRows()
	bits := g.StaticGlobal("bitsOfLanes")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for lane := range 8 {
		g.AddDatum(4*lane, operand.U32(1<<lane))
	}
	g.softmaxQuadsAVX2(e, bits)
	g.gradientQuadsAVX2(e, bits)
}

// transposeLanes writes the kernel that packs rows into score panels.
func (g *amd64) transposeLanes() {
	g.function("transposeLanesAVX2", "func(dst, rows unsafe.Pointer, blocks, pitch int)", g.quads.doc("transposeLanes", "Transpose of BlockTwins")+".")
	dst, rows, blocks := g.arg("dst"), g.arg("rows"), g.arg("blocks")
	pitches, channel := g.multiples(g.arg("pitch"), 8), g.GP64()
	g.XORQ(channel, channel)
	g.repeat(blocks, func() {
		g.squares(dst, pitches, func(lane, half int) operand.Mem {
			p := g.GP64()
			g.MOVQ(mem(rows, 8*lane), p)
			return operand.Mem{Base: p, Index: channel, Scale: 1, Disp: 16 * half}
		})
		g.ADDQ(operand.U8(vector), channel)
		g.LEAQ(at(dst, pitches, 8), dst)
	})
	g.leave()
}

// itemVectors is a loop over the vectors of one item of a quad.
type itemVectors struct {
	quads  reg.Register
	places []reg.Register // addresses of the item's vectors, which the loop advances
	q      int
	next   func()                                     // called before each group; may be nil
	each   func(at []operand.Mem, bits reg.GPVirtual) // the lowest bits are the mask
}

func (g *amd64) eachItemVector(w itemVectors) {
	own, masks := g.GP32(), g.arg("Masks")
	g.MOVL(mem(w.quads, quad.at("Masks")+4*(w.q%2)), own)
	g.repeat(g.arg("Groups"), func() {
		if w.next != nil {
			w.next()
		}
		bits := g.GP32()
		g.MOVL(mem(masks, 4*(w.q/2)), bits)
		g.ANDL(own, bits)
		g.repeat(g.arg("Wide"), func() {
			at := make([]operand.Mem, len(w.places))
			for i, place := range w.places {
				at[i] = mem(place, 0)
			}
			w.each(at, bits)
			g.SHRL(operand.U8(8), bits)
			for _, place := range w.places {
				g.ADDQ(operand.U8(vector), place)
			}
		})
		skip, columns := g.arg("GroupStep"), g.arg("Wide")
		g.SHLQ(operand.U8(5), columns)
		g.SUBQ(columns, skip)
		for _, place := range w.places {
			g.ADDQ(skip, place)
		}
		g.ADDQ(operand.U8(8), masks)
	})
}

// laneMask returns the mask of 8 lanes given by the lowest bits of a register.
func (g *amd64) laneMask(bits reg.GPVirtual, lanes operand.Mem) reg.VecVirtual {
	m := g.YMM()
	g.VMOVD(bits, m.AsX())
	g.VPBROADCASTD(m.AsX(), m)
	g.VPAND(lanes, m, m)
	g.VPCMPEQD(lanes, m, m)
	return m
}

// numberOf returns the operand of an item's number. The register row is the distance between
// rows of items.
func (g *amd64) numberOf(numbers reg.Register, row, q int) operand.Mem {
	p := g.copied(numbers)
	for range row {
		g.ADDQ(g.parameter("NumberRow"), p)
	}
	return mem(p, 4*(q%2))
}

// softmaxQuadsAVX2 leaves the logarithm to Go.
func (g *amd64) softmaxQuadsAVX2(e *exponent, lanes operand.Mem) {
	g.functionOf(block, "softmaxQuadsAVX2",
		"softmaxQuadsAVX2 is SoftmaxQuads with 8 lanes but for the logarithm and the inverse: it stores maxima and sums.")
	g.copyFields("Weights", "Quads", "Masks", "LSE", "Count", "Groups", "Wide", "GroupStep", "WeightItem", "NumberRow")
	scores, quads, numbers, lowest := g.arg("Weights"), g.arg("Quads"), g.arg("LSE"), g.YMM()
	g.VMOVUPS(g.negativeInfinity, lowest)
	g.repeat(g.arg("Count"), func() {
		for q := range 4 {
			place, top := g.copied(scores), g.YMM()
			g.VMOVUPS(lowest, top)
			g.eachItemVector(itemVectors{quads: quads, places: []reg.Register{place}, q: q, each: func(at []operand.Mem, bits reg.GPVirtual) {
				m, x := g.laneMask(bits, lanes), g.YMM()
				g.VBLENDVPS(m, at[0], lowest, x)
				g.VMAXPS(top, x, top)
				g.VMOVUPS(x, at[0])
			}})
			g.fold(top, g.VMAXPS)
			g.VMOVSS(top.AsX(), g.numberOf(numbers, q/2, q))
			total, some := g.YMM(), g.YMM()
			g.VXORPS(total, total, total)
			g.VCMPPS(operand.U8(4), lowest.AsX(), top.AsX(), some.AsX()) // not equal
			g.VANDPS(some.AsX(), top.AsX(), top.AsX())
			g.VBROADCASTSS(top.AsX(), top)
			g.MOVQ(scores, place)
			g.repeat(g.arg("Groups"), func() {
				at := g.copied(place)
				g.repeat(g.arg("Wide"), func() {
					x := g.YMM()
					g.VMOVUPS(mem(at, 0), x)
					g.VSUBPS(top, x, x)
					g.exp(e, x)
					g.VADDPS(x, total, total)
					g.VMOVUPS(x, mem(at, 0))
					g.ADDQ(operand.U8(vector), at)
				})
				g.ADDQ(g.parameter("GroupStep"), place)
			})
			g.fold(total, g.VADDPS)
			g.VMOVSS(total.AsX(), g.numberOf(numbers, 2+q/2, q))
			g.ADDQ(g.parameter("WeightItem"), scores)
		}
		g.ADDQ(operand.U8(8), numbers)
		g.ADDQ(operand.U8(quad.size), quads)
	})
	g.leave()
}

// gradientQuadsAVX2 writes the gradient of the softmax.
func (g *amd64) gradientQuadsAVX2(e *exponent, lanes operand.Mem) {
	weigh := func(at []operand.Mem, bits reg.GPVirtual, offset, delta operand.Op) {
		x, y := g.YMM(), g.YMM()
		g.VMOVUPS(at[0], x)
		g.VSUBPS(offset, x, x)
		g.exp(e, x)
		g.VANDPS(g.laneMask(bits, lanes), x, x)
		g.VMOVUPS(x, at[0])
		g.VMOVUPS(at[1], y)
		g.VSUBPS(delta, y, y)
		g.VMULPS(y, x, x)
		g.VMOVUPS(x, at[1])
	}
	fields := []string{"Weights", "Gradients", "Quads", "Masks", "LSE", "Delta", "Count", "Groups", "Wide", "GroupStep", "WeightItem"}

	g.functionOf(block, "gradientItemsAVX2", "gradientItemsAVX2 is GradientItems with 8 lanes.")
	g.copyFields(append(fields, "NumberRow")...)
	scores, gradients, quads := g.arg("Weights"), g.arg("Gradients"), g.arg("Quads")
	lse, deltas := g.arg("LSE"), g.arg("Delta")
	g.repeat(g.arg("Count"), func() {
		for q := range 4 {
			offset, delta := g.YMM(), g.YMM()
			g.VBROADCASTSS(g.numberOf(lse, q/2, q), offset)
			g.VBROADCASTSS(g.numberOf(deltas, q/2, q), delta)
			places := []reg.Register{g.copied(scores), g.copied(gradients)}
			g.eachItemVector(itemVectors{quads: quads, places: places, q: q, each: func(at []operand.Mem, bits reg.GPVirtual) {
				weigh(at, bits, offset, delta)
			}})
			g.ADDQ(g.parameter("WeightItem"), scores)
			g.ADDQ(g.parameter("WeightItem"), gradients)
		}
		g.ADDQ(operand.U8(8), lse)
		g.ADDQ(operand.U8(8), deltas)
		g.ADDQ(operand.U8(quad.size), quads)
	})
	g.leave()

	g.functionOf(block, "gradientLanesOfQuadsAVX2", "gradientLanesOfQuadsAVX2 is GradientLanes with 8 lanes.")
	g.copyFields(append(fields, "Offsets")...)
	scores, gradients, quads = g.arg("Weights"), g.arg("Gradients"), g.arg("Quads")
	count := g.kept(g.arg("Count")) // in memory: the loops need every register
	next := g.label("next")
	g.Label(next)
	for q := range 4 {
		offsets, offset, delta := g.arg("Offsets"), g.GP64(), g.GP64()
		places := []reg.Register{g.copied(scores), g.copied(gradients)}
		g.eachItemVector(itemVectors{quads: quads, places: places, q: q,
			next: func() {
				g.MOVQ(mem(offsets, 0), offset)
				g.ADDQ(mem(quads, quad.at("Panel")), offset)
				g.MOVQ(offset, delta)
				g.ADDQ(g.parameter("LSE"), offset)
				g.ADDQ(g.parameter("Delta"), delta)
				g.ADDQ(operand.U8(8), offsets)
			},
			each: func(at []operand.Mem, bits reg.GPVirtual) {
				weigh(at, bits, mem(offset, 0), mem(delta, 0))
				g.ADDQ(operand.U8(vector), offset)
				g.ADDQ(operand.U8(vector), delta)
			}})
		g.ADDQ(g.parameter("WeightItem"), scores)
		g.ADDQ(g.parameter("WeightItem"), gradients)
	}
	g.ADDQ(operand.U8(quad.size), quads)
	g.DECQ(count)
	g.JNZ(operand.LabelRef(next))
	g.leave()
}
