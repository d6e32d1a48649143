// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// This file has the kernels for quads: 2 x 2 items, two neighbors on the fastest axis in two
// neighboring rows. See abi.Quad and abi.Block.

const wide = 64 // bytes of 16 float32 lanes

// quadWidth is a register size, with the numbers of registers that the kernels for quads use.
type quadWidth struct {
	width
	groups  int   // groups per score kernel, with 4 sums each
	vectors []int // vectors of channels per loop, with 4 sums each
	classes []scoreClass
}

// lanes is the number of elements of a vector.
func (w *quadWidth) lanes() int { return w.bytes / 4 }

func (w *quadWidth) doc(kernel, twin string) string {
	return fmt.Sprintf("%s%s is %s with %d lanes", kernel, w.isa, twin, w.lanes())
}

// blocks writes the kernels of AVX-512.
func (g *amd64) blocks() {
	g.quads = quadWidth{width{g.ZMM, "AVX512", wide}, 4, []int{4, 2, 1}, []scoreClass{{}}}
	e := g.newExponent()
	g.negativeInfinity = g.number("negativeInfinity", float32(math.Inf(-1)))
	g.scoreQuads()
	g.softmaxQuads(&e)
	g.gradientQuads(&e)
	g.accumulateQuads()
	g.scatterQuads()
	g.transposeWide()
	g.dotRows()
	g.peak("AVX512", 16, g.ZMM)
	g.denseAVX512(&e)
}

// prefetchStreams prefetches two rows of each stream and advances the streams. See abi.Stream.
func (g *amd64) prefetchStreams() {
	ahead := g.arg("Ahead")
	g.repeatIfAny(g.arg("Streams"), func() {
		row := g.GP64()
		g.MOVQ(mem(ahead, stream.at("Row")), row)
		for range 2 {
			p, lines := g.GP64(), g.GP64()
			g.MOVQ(row, p)
			g.MOVQ(mem(ahead, stream.at("Lines")), lines)
			g.repeat(lines, func() {
				g.PREFETCHT1(mem(p, 0))
				g.ADDQ(operand.U8(64), p)
			})
			g.ADDQ(mem(ahead, stream.at("Step")), row)
		}
		g.MOVQ(row, mem(ahead, stream.at("Row")))
		g.ADDQ(operand.U8(stream.size), ahead)
	})
}

func (g *amd64) scoreQuads() {
	g.functionOf(block, "scoreQuads"+g.quads.isa, g.quads.doc("scoreQuads", "ScoreQuads")+fmt.Sprintf(" and up to %d groups.", g.quads.groups))
	g.copyFields("Weights", "Vectors", "Panel", "Quads", "Offsets", "Ahead", "Streams", "Count", "Channels", "Pitch",
		"Groups", "GroupStep", "WeightItem", "Item", "Row", "Upper", "Lower")
	for n := g.quads.groups; n >= 1; n-- {
		next := g.label("fewer")
		if n > 1 {
			g.CMPQ(g.arg("Groups"), operand.U8(n))
			g.JNE(operand.LabelRef(next))
		}
		for _, class := range g.quads.classes {
			other := g.label("class")
			if class.upper {
				g.CMPQ(g.parameter("Upper"), operand.U8(0))
				g.JEQ(operand.LabelRef(other))
			}
			if class.lower {
				g.CMPQ(g.parameter("Lower"), operand.U8(0))
				g.JEQ(operand.LabelRef(other))
			}
			g.scoreQuadsOf(n, class)
			g.Label(other)
		}
		g.Label(next)
	}
}

func (g *amd64) scoreQuadsOf(n int, class scoreClass) {
	dst, items, quads := g.arg("Weights"), g.arg("Vectors"), g.arg("Quads")
	g.repeat(g.arg("Count"), func() {
		g.prefetchStreams()
		q, item, row, both := g.GP64(), g.arg("Item"), g.arg("Row"), g.GP64()
		g.MOVQ(items, q)
		g.LEAQ(sum(item, row), both)
		offsets, panel := g.arg("Offsets"), g.arg("Panel")
		g.ADDQ(mem(quads, quad.at("Panel")), panel)
		g.ADDQ(mem(offsets, 0), panel)
		further := make([]reg.GPVirtual, n)
		for i := 1; i < n; i++ {
			further[i] = g.GP64()
			g.MOVQ(mem(offsets, 8*i), further[i])
			g.SUBQ(mem(offsets, 0), further[i])
		}
		depth, pitch, sums := g.arg("Channels"), g.arg("Pitch"), g.registers(4*n, g.quads.register)
		g.zero(sums)
		channel := func(i int) {
			p, v := g.registers(n, g.quads.register), g.registers(4, g.quads.register)
			g.VMOVUPS(mem(panel, 0), p[0])
			for i := 1; i < n; i++ {
				g.VMOVUPS(sum(panel, further[i]), p[i])
			}
			for k, from := range []operand.Mem{mem(q, 0), sum(q, item), sum(q, row), sum(q, both)} {
				from.Disp = 4 * i
				g.VBROADCASTSS(from, v[k])
				for j := range n {
					if class.meets(k, j, n) {
						g.VFMADD231PS(p[j], v[k], sums[k*n+j])
					}
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
		step, item2 := g.arg("GroupStep"), g.arg("WeightItem")
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
		again := g.arg("Item")
		g.LEAQ(operand.Mem{Base: items, Index: again, Scale: 2}, items)
		g.ADDQ(operand.U8(quad.size), quads)
	})
	g.leave()
}

// accumulateQuads writes the kernel for weighted sums of quads.
func (g *amd64) accumulateQuads() {
	g.functionOf(block, "accumulateQuads"+g.quads.isa, g.quads.doc("accumulateQuads", "AccumulateQuads")+".")
	g.eachQuad(metLanes{sums: true, lane: g.accumulateLane})
}

// metLanes says what a kernel does with the lanes that quads meet in rows of a panel.
type metLanes struct {
	sums bool // the items' vectors are sums, which are stored again
	lane func(n int, p reg.Register, of []operand.Mem, items []int, sums *[4][]reg.VecVirtual)
}

// eachQuad loops over quads and, up to four vectors at a time, over their channels.
func (g *amd64) eachQuad(k metLanes) {
	g.copyFields("Vectors", "Weights", "Panel", "Quads", "Rows", "Ahead", "Streams", "Count", "Channels", "Upper", "Both", "Lower",
		"Lane", "Column", "WeightItem", "Item", "Row")
	sums, weights, quads := g.arg("Vectors"), g.arg("Weights"), g.arg("Quads")
	count := g.kept(g.arg("Count")) // in memory: the loops need every register
	next := g.label("next")
	g.Label(next)
	g.prefetchStreams()
	panel, to, left := g.arg("Panel"), g.GP64(), g.arg("Channels")
	g.ADDQ(mem(quads, quad.at("Rows")), panel)
	g.MOVQ(sums, to)
	for _, n := range g.quads.vectors {
		top, done := g.label("block"), g.label("narrower")
		g.Label(top)
		g.CMPQ(left, operand.U8(g.quads.lanes()*n))
		g.JLT(operand.LabelRef(done))
		at, rest := g.kept(to), g.kept(left)
		g.eachMetLane(k, n, at, weights, panel, quads)
		g.MOVQ(at, to)
		g.MOVQ(rest, left)
		g.ADDQ(operand.U32(g.quads.bytes*n), to)
		g.ADDQ(operand.U32(g.quads.bytes*n), panel)
		g.SUBQ(operand.U8(g.quads.lanes()*n), left)
		g.JMP(operand.LabelRef(top))
		g.Label(done)
	}
	item, weightItem := g.arg("Item"), g.arg("WeightItem")
	g.LEAQ(operand.Mem{Base: sums, Index: item, Scale: 2}, sums)
	g.LEAQ(operand.Mem{Base: weights, Index: weightItem, Scale: 4}, weights)
	g.ADDQ(operand.U8(quad.size), quads)
	g.DECQ(count)
	g.JNZ(operand.LabelRef(next))
	g.leave()
}

// kept copies a register to the function's frame.
func (g *amd64) kept(r reg.Register) operand.Mem {
	m := g.AllocLocal(8)
	g.MOVQ(r, m)
	return m
}

// quadItems calls f for each of the four items, with the operand of its sums.
func (g *amd64) quadItems(at operand.Mem, f func(q int, at operand.Mem)) {
	to, second, item := g.GP64(), g.GP64(), g.arg("Item")
	g.MOVQ(at, to)
	g.MOVQ(to, second)
	g.ADDQ(g.arg("Row"), second)
	for q, at := range []operand.Mem{mem(to, 0), sum(to, item), mem(second, 0), sum(second, item)} {
		f(q, at)
	}
}

// eachMetLane loops over the lanes that a quad meets, for n vectors of channels.
func (g *amd64) eachMetLane(k metLanes, n int, to operand.Mem, weights, panel, quads reg.Register) {
	var sums [4][]reg.VecVirtual
	g.quadItems(to, func(q int, at operand.Mem) {
		sums[q] = g.registers(n, g.quads.register)
		for i := range n {
			at.Disp = g.quads.bytes * i
			g.VMOVUPS(at, sums[q][i])
		}
	})
	rows, lane, column := g.arg("Rows"), g.arg("Lane"), g.arg("Column")
	for _, class := range []struct {
		rows  string
		items []int // first items of the rows of items
	}{{"Upper", []int{0}}, {"Both", []int{0, 2}}, {"Lower", []int{2}}} {
		g.repeatIfAny(g.arg(class.rows), func() {
			p, w := g.GP64(), g.GP64()
			g.MOVQ(mem(rows, metRow.at("Panel")), p)
			g.ADDQ(panel, p)
			g.MOVQ(mem(rows, metRow.at("Weights")), w)
			g.ADDQ(weights, w)
			g.ADDQ(operand.U8(metRow.size), rows)
			item, item3 := g.arg("WeightItem"), g.GP64()
			g.LEAQ(operand.Mem{Base: item, Index: item, Scale: 2}, item3)
			of := []operand.Mem{mem(w, 0), sum(w, item), {Base: w, Index: item, Scale: 2}, sum(w, item3)}
			for _, part := range []struct {
				lanes      string
				first, end int
			}{{"Left", 0, 1}, {"Both", 0, 2}, {"Right", 1, 2}} {
				lanes := g.GP64()
				g.MOVQ(mem(quads, quad.at(part.lanes)), lanes)
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
	g.quadItems(to, func(q int, at operand.Mem) {
		for i := range n {
			at.Disp = g.quads.bytes * i
			g.VMOVUPS(sums[q][i], at)
		}
	})
}

// accumulateLane adds one lane to the sums of some items. The operands of their weights are in
// of.
func (g *amd64) accumulateLane(n int, p reg.Register, of []operand.Mem, items []int, sums *[4][]reg.VecVirtual) {
	g.loadLane(n, p, of, items, func(q, i int, x, weight reg.VecVirtual) { g.VFMADD231PS(x, weight, sums[q][i]) })
}

// loadLane loads one lane and calls product for each of its vectors and each item.
func (g *amd64) loadLane(n int, p reg.Register, of []operand.Mem, items []int, product func(q, i int, x, weight reg.VecVirtual)) []reg.VecVirtual {
	x := g.registers(n, g.quads.register)
	for i := range n {
		g.VMOVUPS(mem(p, g.quads.bytes*i), x[i])
	}
	for _, q := range items {
		v := g.quads.register()
		g.VBROADCASTSS(of[q], v)
		for i := range n {
			product(q, i, x[i], v)
		}
	}
	return x
}

// transposeWide writes the kernel that packs rows into score panels.
func (g *amd64) transposeWide() {
	g.function("transposeAVX512", "func(dst, rows unsafe.Pointer, blocks, pitch int)",
		"transposeAVX512 is, with rows as 16 addresses and pitch in bytes,",
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
			// Lanes 4i to 4i+3 of the result belong in quarter i of a register. The quarters of
			// r[k] therefore hold rows k, k+4, k+8 and k+12.
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

// dotRows writes the dot products of rows.
func (g *amd64) dotRows() {
	g.function("dotRows"+g.quads.isa, "func(dst, a, b unsafe.Pointer, rows, blocks, step, aStep, bStep int)",
		g.quads.doc("dotRows", "DotRows of BlockTwins")+".")
	dst, a, b, step, aStep, bStep := g.arg("dst"), g.arg("a"), g.arg("b"), g.arg("step"), g.arg("aStep"), g.arg("bStep")
	blocks := g.arg("blocks")
	g.repeat(g.arg("rows"), func() {
		at, left := g.GP64(), g.GP64()
		g.XORQ(at, at)
		g.MOVQ(blocks, left)
		s, x := g.quads.register(), g.quads.register()
		g.zero([]reg.VecVirtual{s})
		g.repeat(left, func() {
			g.VMOVUPS(sum(a, at), x)
			g.VFMADD231PS(sum(b, at), x, s)
			g.ADDQ(operand.U8(g.quads.bytes), at)
		})
		if g.quads.bytes == wide {
			s = g.halved(&g.quads.width, s)
		}
		g.fold(s, g.VADDPS)
		g.VMOVSS(s.AsX(), mem(dst, 0))
		g.ADDQ(aStep, a)
		g.ADDQ(bStep, b)
		g.ADDQ(step, dst)
	})
	g.leave()
}
