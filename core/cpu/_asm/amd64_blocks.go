// SPDX-License-Identifier: MIT

package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Kernels for blocks of 2 x 2 items: two neighbours on the fastest axis in two
// neighbouring rows. Layout of block in blocks.go:
const (
	blockBytes = 48
	blockPanel = 0  // bytes to the first lane of the score panel
	blockRows  = 8  // bytes to its row in the row panel
	blockLeft  = 16 // lanes that only the first item of a row meets
	blockBoth  = 24
	blockRight = 32
	blockMasks = 40 // lanes of either item, one bit an element, 32 bits each
)

const (
	wide        = 64 // bytes of 16 float32 lanes
	mostVectors = 4  // of scoreBlocksAVX512: 4 x 4 sums, 4 vectors and 4 broadcasts
)

func (g *amd64) wides(n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = g.ZMM()
	}
	return v
}

func (g *amd64) clear(v []reg.VecVirtual) {
	for _, r := range v {
		g.VPXORD(r, r, r)
	}
}

func (g *amd64) blocks() {
	e := g.newExponent()
	g.negativeInfinity = g.number("negativeInfinity", float32(math.Inf(-1)))
	g.scoreBlocks()
	g.softmaxBlocks(&e)
	g.gradientBlocks(&e)
	g.accumulateBlocks()
	g.turnBlock()
	g.peakWide()
}

// ask prefetches two rows of each stream and moves the streams on. Layout of stream
// in blocks_ahead.go.
func (g *amd64) ask() {
	ahead := g.arg("ahead")
	g.repeatIfAny(g.arg("streams"), func() {
		row := g.GP64()
		g.MOVQ(mem(ahead, 0), row)
		for range 2 {
			p, lines := g.GP64(), g.GP64()
			g.MOVQ(row, p)
			g.MOVQ(mem(ahead, 16), lines)
			g.repeat(lines, func() {
				g.PREFETCHT1(mem(p, 0))
				g.ADDQ(operand.U8(64), p)
			})
			g.ADDQ(mem(ahead, 8), row)
		}
		g.MOVQ(row, mem(ahead, 0))
		g.ADDQ(operand.U8(24), ahead)
	})
}

func (g *amd64) scoreBlocks() {
	g.function("scoreBlocksAVX512",
		"func(dst, items, panel, blocks, offsets, ahead unsafe.Pointer, count, depth, pitch, vectors, dstStep, dstItem, item, row, streams int)",
		"scoreBlocksAVX512 is, with offsets and strides in bytes and 1 <= vectors <= 4,",
		"",
		"\tfor i, b := range blocks[:count] { for q := range 4 { for v := range vectors { for lane := range 16 {",
		"\t\tdst[(4*i+q)*dstItem+v*dstStep+lane] = sum over c < depth of",
		"\t\t\titems[(2*i+q%2)*item+q/2*row+c] * panel[b.panel+offsets[v]+c*pitch+lane] } } } }",
		"",
		"and asks, before every block, for two rows of each of the streams of ahead.")
	for n := mostVectors; n >= 1; n-- {
		next := g.label("fewer")
		if n > 1 {
			g.CMPQ(g.arg("vectors"), operand.U8(n))
			g.JNE(operand.LabelRef(next))
		}
		g.scoreBlocksOf(n)
		g.Label(next)
	}
}

func (g *amd64) scoreBlocksOf(n int) {
	dst, items, blocks := g.arg("dst"), g.arg("items"), g.arg("blocks")
	g.repeat(g.arg("count"), func() {
		g.ask()
		q, item, row, both := g.GP64(), g.arg("item"), g.arg("row"), g.GP64()
		g.MOVQ(items, q)
		g.LEAQ(sum(item, row), both)
		offsets, panel := g.arg("offsets"), g.arg("panel")
		g.ADDQ(mem(blocks, blockPanel), panel)
		g.ADDQ(mem(offsets, 0), panel)
		further := make([]reg.GPVirtual, n)
		for i := 1; i < n; i++ {
			further[i] = g.GP64()
			g.MOVQ(mem(offsets, 8*i), further[i])
			g.SUBQ(mem(offsets, 0), further[i])
		}
		depth, pitch, sums := g.arg("depth"), g.arg("pitch"), g.wides(4*n)
		g.clear(sums)
		channel := func(i int) {
			p, v := g.wides(n), g.wides(4)
			g.VMOVUPS(mem(panel, 0), p[0])
			for i := 1; i < n; i++ {
				g.VMOVUPS(sum(panel, further[i]), p[i])
			}
			for k, from := range []operand.Mem{mem(q, 0), sum(q, item), sum(q, row), sum(q, both)} {
				from.Disp = 4 * i
				g.VBROADCASTSS(from, v[k])
				for j := range n {
					g.VFMADD231PS(p[j], v[k], sums[k*n+j])
				}
			}
			g.ADDQ(pitch, panel)
		}
		rest := g.GP64()
		g.MOVQ(depth, rest)
		g.SHRQ(operand.U8(2), depth)
		g.repeatIfAny(depth, func() {
			for i := range 4 {
				channel(i)
			}
			g.ADDQ(operand.U8(16), q)
		})
		g.ANDQ(operand.U8(3), rest)
		g.repeatIfAny(rest, func() {
			channel(0)
			g.ADDQ(operand.U8(4), q)
		})
		step, item2 := g.arg("dstStep"), g.arg("dstItem")
		for i := range 4 {
			to := g.GP64()
			g.MOVQ(dst, to)
			for j := range n {
				g.VMOVUPS(sums[i*n+j], mem(to, 0))
				if j < n-1 {
					g.ADDQ(step, to)
				}
			}
			g.ADDQ(item2, dst)
		}
		again := g.arg("item")
		g.LEAQ(operand.Mem{Base: items, Index: again, Scale: 2}, items)
		g.ADDQ(operand.U8(blockBytes), blocks)
	})
	g.leave()
}

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
		"\tmaximum := statistics[q/2*row+2*i+q%2] = the maximum of x in the mask",
		"\tx = e**(x-maximum) in the mask, otherwise 0; a maximum of -infinity counts as 0",
		"\tstatistics[(2+q/2)*row+2*i+q%2] = the sum of x",
		"\tstatistics[(4+q/2)*row+2*i+q%2] = 1 / the sum of x")
	constants, order := g.newWideExponent(e), g.ZMM()
	lowest := g.everywhere(g.negativeInfinity)
	g.VMOVUPS(quarters, order)
	scores, blocks, statistics := g.arg("scores"), g.arg("blocks"), g.arg("statistics")
	g.repeat(g.arg("count"), func() {
		tops := g.wides(4)
		for _, t := range tops {
			g.VMOVAPS(lowest, t)
		}
		g.eachBlockVector(blockVectors{blocks: blocks, scores: scores, each: func(q int, x, _ operand.Mem, mask reg.Register) {
			g.VMAXPS(x, tops[q], mask, tops[q])
		}})
		top, out, some := g.foldBlock(tops, g.VMAXPS), g.ZMM(), g.K()
		g.VPERMPS(top, order, out)
		row := g.arg("row")
		place := g.storePairs(out, statistics, row)
		g.VCMPPS(operand.U8(4), lowest, top, some) // not equal
		g.VMOVAPS_Z(top, some, top)
		totals := g.wides(4)
		for q := range 4 {
			g.VSHUFF32X4(operand.U8(0x55*q), top, top, tops[q])
		}
		g.clear(totals)
		g.eachBlockVector(blockVectors{blocks: blocks, scores: scores, each: func(q int, at, _ operand.Mem, mask reg.Register) {
			x := g.ZMM()
			g.VMOVUPS(at, x)
			g.VSUBPS(tops[q], x, x)
			g.wideExp(&constants, x, mask)
			g.VADDPS(x, totals[q], totals[q])
			g.VMOVUPS(x, at)
		}})
		total, one := g.foldBlock(totals, g.VADDPS), g.ZMM()
		g.VPERMPS(total, order, total)
		place = g.storePairs(total, place, row)
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
		"\tx = e**(x-lse) * (y-delta) in the mask, otherwise undefined")
	constants := g.newWideExponent(e)
	scores, gradients, blocks := g.arg("scores"), g.arg("gradients"), g.arg("blocks")
	lse, delta := g.arg("lse"), g.arg("delta")
	g.repeat(g.arg("count"), func() {
		offsets, deltas, row := g.wides(4), g.wides(4), g.arg("row")
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
				g.VMOVUPS(by, y)
				g.VSUBPS(deltas[q], y, y)
				g.VMULPS(y, x, x)
				g.VMOVUPS(x, at)
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

// accumulateBlocks writes the second primitive for blocks.
func (g *amd64) accumulateBlocks() {
	g.function("accumulateBlocksAVX512",
		"func(sums, weights, panel, blocks, rows, ahead unsafe.Pointer, count, channels, upper, both, lower, lane, column, weightItem, item, row, streams int)",
		"accumulateBlocksAVX512 adds, for blocks of items, the lanes that each item meets in rows",
		"of the panel: first upper rows that only the first row of items meets, then both rows,",
		"then lower rows that only the second meets. rows has two offsets for each, into panel",
		"and into weights. channels is a multiple of 16; offsets and strides are in bytes.",
		"",
		"\tfor i, b := range blocks[:count] { for q := range 4 { for each row r and lane l that item q meets { for c := range channels {",
		"\t\tsums[(2*i+q%2)*item+q/2*row+c] +=",
		"\t\t\tweights[(4*i+q)*weightItem+r.weights+l*column] * panel[b.rows+r.panel+l*lane+c] } } } }",
		"",
		"and asks, before every block, for two rows of each of the streams of ahead.")
	sums, weights, blocks := g.arg("sums"), g.arg("weights"), g.arg("blocks")
	g.repeat(g.arg("count"), func() {
		g.ask()
		panel, to, left := g.arg("panel"), g.GP64(), g.arg("channels")
		g.ADDQ(mem(blocks, blockRows), panel)
		g.MOVQ(sums, to)
		for _, n := range []int{4, 2, 1} {
			top, done := g.label("block"), g.label("narrower")
			g.Label(top)
			g.CMPQ(left, operand.U8(16*n))
			g.JLT(operand.LabelRef(done))
			g.accumulateBlockOf(n, to, weights, panel, blocks)
			g.ADDQ(operand.U32(wide*n), to)
			g.ADDQ(operand.U32(wide*n), panel)
			g.SUBQ(operand.U8(16*n), left)
			g.JMP(operand.LabelRef(top))
			g.Label(done)
		}
		item, weightItem := g.arg("item"), g.arg("weightItem")
		g.LEAQ(operand.Mem{Base: sums, Index: item, Scale: 2}, sums)
		g.LEAQ(operand.Mem{Base: weights, Index: weightItem, Scale: 4}, weights)
		g.ADDQ(operand.U8(blockBytes), blocks)
	})
	g.leave()
}

// blockItems runs f for the sums of the four items.
func (g *amd64) blockItems(to reg.Register, f func(q int, at operand.Mem)) {
	second, item := g.GP64(), g.arg("item")
	g.MOVQ(to, second)
	g.ADDQ(g.arg("row"), second)
	for q, at := range []operand.Mem{mem(to, 0), sum(to, item), mem(second, 0), sum(second, item)} {
		f(q, at)
	}
}

func (g *amd64) accumulateBlockOf(n int, to, weights, panel, blocks reg.Register) {
	var sums [4][]reg.VecVirtual
	g.blockItems(to, func(q int, at operand.Mem) {
		sums[q] = g.wides(n)
		for i := range n {
			at.Disp = wide * i
			g.VMOVUPS(at, sums[q][i])
		}
	})
	rows := g.arg("rows")
	for _, class := range []struct {
		rows  string
		items []int // first items of the rows of items
	}{{"upper", []int{0}}, {"both", []int{0, 2}}, {"lower", []int{2}}} {
		g.repeatIfAny(g.arg(class.rows), func() {
			p, w := g.GP64(), g.GP64()
			g.MOVQ(mem(rows, 0), p)
			g.ADDQ(panel, p)
			g.MOVQ(mem(rows, 8), w)
			g.ADDQ(weights, w)
			g.ADDQ(operand.U8(16), rows)
			item, item3 := g.arg("weightItem"), g.GP64()
			g.LEAQ(operand.Mem{Base: item, Index: item, Scale: 2}, item3)
			of := []operand.Mem{mem(w, 0), sum(w, item), {Base: w, Index: item, Scale: 2}, sum(w, item3)}
			for _, part := range []struct{ lanes, first, end int }{{blockLeft, 0, 1}, {blockBoth, 0, 2}, {blockRight, 1, 2}} {
				lanes := g.GP64()
				g.MOVQ(mem(blocks, part.lanes), lanes)
				g.repeatIfAny(lanes, func() {
					var items []int
					for _, first := range class.items {
						for q := part.first; q < part.end; q++ {
							items = append(items, first+q)
						}
					}
					g.accumulateLane(n, p, w, of, items, &sums)
				})
			}
		})
	}
	g.blockItems(to, func(q int, at operand.Mem) {
		for i := range n {
			at.Disp = wide * i
			g.VMOVUPS(sums[q][i], at)
		}
	})
}

// accumulateLane adds one lane to the sums of some items, whose weights are at of.
func (g *amd64) accumulateLane(n int, p, w reg.Register, of []operand.Mem, items []int, sums *[4][]reg.VecVirtual) {
	x := g.wides(n)
	for i := range n {
		g.VMOVUPS(mem(p, wide*i), x[i])
	}
	for _, q := range items {
		v := g.ZMM()
		g.VBROADCASTSS(of[q], v)
		for i := range n {
			g.VFMADD231PS(x[i], v, sums[q][i])
		}
	}
	g.ADDQ(g.parameter("lane"), p)
	g.ADDQ(g.parameter("column"), w)
}

// turnBlock writes the packer of score panels.
func (g *amd64) turnBlock() {
	g.function("turnBlockAVX512", "func(dst, rows unsafe.Pointer, blocks, pitch int)",
		"turnBlockAVX512 is, with rows as 16 addresses and pitch in bytes,",
		"",
		"\tfor c := range 16*blocks { for lane := range 16 { dst[c*pitch+lane] = rows[lane][c] } }")
	dst, rows, blocks := g.arg("dst"), g.arg("rows"), g.arg("blocks")
	pitches := g.multiples(g.arg("pitch"), 4)
	channel, masks := g.GP64(), make([]reg.OpmaskVirtual, 4)
	g.XORQ(channel, channel)
	for i := 1; i < 4; i++ {
		bits := g.GP32()
		masks[i] = g.K()
		g.MOVL(operand.U32(0xf<<(4*i)), bits)
		g.KMOVW(bits, masks[i])
	}
	g.repeat(blocks, func() {
		var z [4][]reg.VecVirtual
		for quad := range z {
			z[quad] = g.wides(4)
		}
		for lane := range 16 {
			p := g.GP64()
			g.MOVQ(mem(rows, 8*lane), p)
			for quad := range z {
				from := operand.Mem{Base: p, Index: channel, Scale: 1, Disp: 16 * quad}
				if lane < 4 {
					g.VMOVUPS(from, z[quad][lane].AsX())
				} else {
					g.VBROADCASTF32X4(from, masks[lane/4], z[quad][lane%4])
				}
			}
		}
		for quad := range z {
			r, t := z[quad], g.wides(4)
			// Rows lane, lane+4, ... of a lane group are in the quarters: as lanes
			// 4i..4i+3 are wanted in quarter i, r[k] has rows k, k+4, k+8, k+12.
			g.VUNPCKLPS(r[1], r[0], t[0])
			g.VUNPCKHPS(r[1], r[0], t[1])
			g.VUNPCKLPS(r[3], r[2], t[2])
			g.VUNPCKHPS(r[3], r[2], t[3])
			for i := range 4 {
				out := g.ZMM()
				g.VSHUFPS(operand.U8([]int{0x44, 0xee}[i%2]), t[2+i/2], t[i/2], out)
				g.VMOVUPS(out, at(dst, pitches, i))
			}
			g.LEAQ(operand.Mem{Base: dst, Index: pitches[1], Scale: 4}, dst)
		}
		g.ADDQ(operand.U8(wide), channel)
	})
	g.leave()
}

// peakWide writes the loop that benchmarks measure arithmetic against.
func (g *amd64) peakWide() {
	g.function("peakAVX512", "func(rounds int)",
		"peakAVX512 does 12 multiply-adds of 16 lanes a round, in registers only.")
	rounds, v, one := g.arg("rounds"), g.wides(12), g.ZMM()
	g.clear(v)
	g.VPXORD(one, one, one)
	g.repeat(rounds, func() {
		for _, r := range v {
			g.VFMADD231PS(one, one, r)
		}
	})
	g.leave()
}
