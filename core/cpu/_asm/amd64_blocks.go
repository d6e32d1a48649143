// SPDX-License-Identifier: MIT

package main

import (
	"math"

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

func (g *amd64) blocks() {
	e := g.newExponent()
	g.negativeInfinity = g.number("negativeInfinity", float32(math.Inf(-1)))
	g.scoreBlocks()
	g.softmaxBlocks(&e)
	g.gradientBlocks(&e)
	g.accumulateBlocks()
	g.scatterBlocks()
	g.turnBlock()
	g.dotRows()
	g.peak("AVX512", 16, g.ZMM)
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
		depth, pitch, sums := g.arg("depth"), g.arg("pitch"), g.registers(4*n, g.ZMM)
		g.zero(sums)
		channel := func(i int) {
			p, v := g.registers(n, g.ZMM), g.registers(4, g.ZMM)
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
	g.eachBlock(metLanes{items: "sums", sums: true, lane: g.accumulateLane})
}

// metLanes is what a kernel does with the lanes that blocks of items meet in rows of a panel.
type metLanes struct {
	items string // the parameter with the channels of items, which are in registers
	sums  bool   // they are sums: stored again
	lane  func(n int, p reg.Register, of []operand.Mem, items []int, sums *[4][]reg.VecVirtual)
}

// eachBlock goes through blocks, and their channels by up to four vectors.
func (g *amd64) eachBlock(k metLanes) {
	sums, weights, blocks := g.arg(k.items), g.arg("weights"), g.arg("blocks")
	count := g.kept(g.arg("count")) // in memory: the loops need every register
	next := g.label("next")
	g.Label(next)
	g.ask()
	panel, to, left := g.arg("panel"), g.GP64(), g.arg("channels")
	g.ADDQ(mem(blocks, blockRows), panel)
	g.MOVQ(sums, to)
	for _, n := range []int{4, 2, 1} {
		top, done := g.label("block"), g.label("narrower")
		g.Label(top)
		g.CMPQ(left, operand.U8(16*n))
		g.JLT(operand.LabelRef(done))
		at, rest := g.kept(to), g.kept(left)
		g.eachMetLane(k, n, at, weights, panel, blocks)
		g.MOVQ(at, to)
		g.MOVQ(rest, left)
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
	g.DECQ(count)
	g.JNZ(operand.LabelRef(next))
	g.leave()
}

// kept is a copy of a register in the function's frame.
func (g *amd64) kept(r reg.Register) operand.Mem {
	m := g.AllocLocal(8)
	g.MOVQ(r, m)
	return m
}

// blockItems runs f for the sums of the four items.
func (g *amd64) blockItems(at operand.Mem, f func(q int, at operand.Mem)) {
	to, second, item := g.GP64(), g.GP64(), g.arg("item")
	g.MOVQ(at, to)
	g.MOVQ(to, second)
	g.ADDQ(g.arg("row"), second)
	for q, at := range []operand.Mem{mem(to, 0), sum(to, item), mem(second, 0), sum(second, item)} {
		f(q, at)
	}
}

// eachMetLane goes through the lanes that a block meets, for n vectors of channels.
func (g *amd64) eachMetLane(k metLanes, n int, to operand.Mem, weights, panel, blocks reg.Register) {
	var sums [4][]reg.VecVirtual
	g.blockItems(to, func(q int, at operand.Mem) {
		sums[q] = g.registers(n, g.ZMM)
		for i := range n {
			at.Disp = wide * i
			g.VMOVUPS(at, sums[q][i])
		}
	})
	rows, lane, column := g.arg("rows"), g.arg("lane"), g.arg("column")
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
					k.lane(n, p, of, items, &sums)
					g.ADDQ(lane, p)
					g.ADDQ(column, w)
				})
			}
		})
	}
	if !k.sums {
		return
	}
	g.blockItems(to, func(q int, at operand.Mem) {
		for i := range n {
			at.Disp = wide * i
			g.VMOVUPS(sums[q][i], at)
		}
	})
}

// accumulateLane adds one lane to the sums of some items, whose weights are at of.
func (g *amd64) accumulateLane(n int, p reg.Register, of []operand.Mem, items []int, sums *[4][]reg.VecVirtual) {
	g.loadLane(n, p, of, items, func(q, i int, x, weight reg.VecVirtual) { g.VFMADD231PS(x, weight, sums[q][i]) })
}

// loadLane loads a lane and runs product for each vector of it and each of the items.
func (g *amd64) loadLane(n int, p reg.Register, of []operand.Mem, items []int, product func(q, i int, x, weight reg.VecVirtual)) []reg.VecVirtual {
	x := g.registers(n, g.ZMM)
	for i := range n {
		g.VMOVUPS(mem(p, wide*i), x[i])
	}
	for _, q := range items {
		v := g.ZMM()
		g.VBROADCASTSS(of[q], v)
		for i := range n {
			product(q, i, x[i], v)
		}
	}
	return x
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
			z[quad] = g.registers(4, g.ZMM)
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
			r, t := z[quad], g.registers(4, g.ZMM)
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

// dotRows writes the inner products of rows.
func (g *amd64) dotRows() {
	g.function("dotRowsAVX512", "func(dst, a, b unsafe.Pointer, rows, blocks, step, aStep, bStep int)",
		"dotRowsAVX512 is, with steps in bytes,",
		"",
		"\tfor r := range rows { dst[r*step] = sum over c < 16*blocks of a[r*aStep+c] * b[r*bStep+c] }")
	dst, a, b, step, aStep, bStep := g.arg("dst"), g.arg("a"), g.arg("b"), g.arg("step"), g.arg("aStep"), g.arg("bStep")
	blocks := g.arg("blocks")
	g.repeat(g.arg("rows"), func() {
		at, left := g.GP64(), g.GP64()
		g.XORQ(at, at)
		g.MOVQ(blocks, left)
		s, x := g.ZMM(), g.ZMM()
		g.VPXORD(s, s, s)
		g.repeat(left, func() {
			g.VMOVUPS(sum(a, at), x)
			g.VFMADD231PS(sum(b, at), x, s)
			g.ADDQ(operand.U8(wide), at)
		})
		half := g.YMM()
		g.VEXTRACTF64X4(operand.U8(1), s, half)
		g.VADDPS(s.AsY(), half, half)
		g.fold(half, g.VADDPS)
		g.VMOVSS(half.AsX(), mem(dst, 0))
		g.ADDQ(aStep, a)
		g.ADDQ(bStep, b)
		g.ADDQ(step, dst)
	})
	g.leave()
}
