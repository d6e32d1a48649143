// SPDX-License-Identifier: MIT

package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	mostRows   = 7  // rows of scoreRowsAVX2: sums of 2 items x 7 rows and 2 broadcasts fill the registers
	mostHalves = 10 // rows of scoreHalvesAVX2
)

// scores writes the score kernels. All process two items at a time and differ in the shape of
// the keys.
func (g *amd64) scores() {
	const signature = "func(dst, vectors, panel, pairs unsafe.Pointer, count, depth, pitch, step, rows, dstStep, dstItem, vectorItem int)"
	g.function("scoreRowsAVX2", signature,
		"scoreRowsAVX2 is, with offsets and strides in bytes and 1 <= rows <= 7,",
		"",
		"\tfor _, p := range pairs[:count] { for i := range 2 { for j := range rows { for lane := range 8 {",
		"\t\tdst[p.dst+i*dstItem+j*dstStep+lane] = sum over c < depth of",
		"\t\t\tvectors[(p.item+i)*vectorItem+c] * panel[p.panel+c*pitch+j*step+lane] } } } }")
	g.scoreVariants(mostRows, false)

	g.function("scoreHalvesAVX2", signature,
		"scoreHalvesAVX2 is scoreRowsAVX2 with 4 lanes and 1 <= rows <= 10.")
	g.scoreVariants(mostHalves, true)
	g.scorePairs()
}

// scoreVariants writes one loop for each number of rows.
func (g *amd64) scoreVariants(most int, half bool) {
	for n := most; n >= 1; n-- {
		next := g.label("fewer")
		if n > 1 {
			rows := g.arg("rows")
			g.CMPQ(rows, operand.U8(n))
			g.JNE(operand.LabelRef(next))
		}
		pairs, count := g.arg("pairs"), g.arg("count")
		g.repeat(count, func() {
			g.scoreLoop(n, half, pairs)
			g.ADDQ(operand.U8(scorePair.size), pairs)
		})
		g.leave()
		g.Label(next)
	}
}

// scaled returns a named argument plus a number in memory times a register.
func (g *amd64) scaled(name string, number operand.Mem, factor reg.Register) reg.GPVirtual {
	r := g.GP64()
	g.MOVQ(number, r)
	g.IMULQ(factor, r)
	base := g.arg(name)
	g.ADDQ(base, r)
	return r
}

// moved returns a named argument plus a number in memory.
func (g *amd64) moved(name string, offset operand.Mem) reg.GPVirtual {
	r := g.arg(name)
	g.ADDQ(offset, r)
	return r
}

func (g *amd64) scoreLoop(n int, half bool, pairs reg.Register) {
	item := g.arg("vectorItem")
	vectors, panel := g.scaled("vectors", mem(pairs, scorePair.at("Item")), item), g.moved("panel", mem(pairs, scorePair.at("Panel")))
	depth, pitch, rows := g.arg("depth"), g.arg("pitch"), g.multiples(g.arg("step"), n)
	registers := n
	if half {
		registers = (n + 1) / 2
	}
	first, second := g.registers(registers, g.YMM), g.registers(registers, g.YMM)
	g.zero(first)
	g.zero(second)
	g.repeat(depth, func() {
		a, b := g.YMM(), g.YMM()
		g.VBROADCASTSS(mem(vectors, 0), a)
		g.VBROADCASTSS(sum(vectors, item), b)
		for i := range registers {
			if n == mostRows && !half {
				g.VFMADD231PS(at(panel, rows, i), a, first[i])
				g.VFMADD231PS(at(panel, rows, i), b, second[i])
				continue
			}
			p := g.YMM()
			if half {
				g.VBROADCASTF128(at(panel, rows, 2*i), p)
				if 2*i+1 < n {
					g.VINSERTF128(operand.U8(1), at(panel, rows, 2*i+1), p, p)
				}
			} else {
				g.VMOVUPS(at(panel, rows, i), p)
			}
			g.VFMADD231PS(p, a, first[i])
			g.VFMADD231PS(p, b, second[i])
		}
		g.ADDQ(operand.U8(4), vectors)
		g.ADDQ(pitch, panel)
	})
	dst, other, step := g.moved("dst", mem(pairs, scorePair.at("Dst"))), g.arg("dstItem"), g.arg("dstStep")
	g.ADDQ(dst, other)
	for i := range registers {
		g.storeScores(dst, other, step, first[i], second[i], half, 2*i+1 < n)
	}
}

func (g *amd64) storeScores(dst, other, step reg.Register, first, second reg.VecVirtual, half, both bool) {
	if !half {
		g.VMOVUPS(first, mem(dst, 0))
		g.VMOVUPS(second, mem(other, 0))
	} else {
		g.VMOVUPS(first.AsX(), mem(dst, 0))
		g.VMOVUPS(second.AsX(), mem(other, 0))
		if both {
			g.VEXTRACTF128(operand.U8(1), first, sum(dst, step))
			g.VEXTRACTF128(operand.U8(1), second, sum(other, step))
			g.ADDQ(step, dst)
			g.ADDQ(step, other)
		}
	}
	g.ADDQ(step, dst)
	g.ADDQ(step, other)
}

// scorePairs writes the score kernel for windows that are single short rows.
func (g *amd64) scorePairs() {
	g.function("scorePairsAVX2",
		"func(dst, vectors, panel, pairs unsafe.Pointer, count, depth, pitch, dstItem, vectorItem int)",
		"scorePairsAVX2 is scoreRowsAVX2 with one row and a multiple of four as count, taking",
		"four pairs at a time.")
	pairs, count := g.arg("pairs"), g.arg("count")
	g.SHRQ(operand.U8(2), count)
	g.repeat(count, func() {
		depth, pitch, item := g.arg("depth"), g.arg("pitch"), g.arg("vectorItem")
		var panels, vectors [4]reg.GPVirtual
		for i := range panels {
			panels[i] = g.moved("panel", mem(pairs, scorePair.size*i+scorePair.at("Panel")))
			vectors[i] = g.scaled("vectors", mem(pairs, scorePair.size*i+scorePair.at("Item")), item)
		}
		sums := g.registers(8, g.YMM)
		g.zero(sums)
		g.repeat(depth, func() {
			for i := range panels {
				p, a, b := g.YMM(), g.YMM(), g.YMM()
				g.VMOVUPS(mem(panels[i], 0), p)
				g.VBROADCASTSS(mem(vectors[i], 0), a)
				g.VBROADCASTSS(sum(vectors[i], item), b)
				g.VFMADD231PS(p, a, sums[2*i])
				g.VFMADD231PS(p, b, sums[2*i+1])
				g.ADDQ(pitch, panels[i])
				g.ADDQ(operand.U8(4), vectors[i])
			}
		})
		other := g.arg("dstItem")
		for i := range panels {
			dst := g.moved("dst", mem(pairs, scorePair.size*i+scorePair.at("Dst")))
			g.VMOVUPS(sums[2*i], mem(dst, 0))
			g.VMOVUPS(sums[2*i+1], sum(dst, other))
		}
		g.ADDQ(operand.U8(4*scorePair.size), pairs)
	})
	g.leave()
}

// accumulate writes the kernel for weighted sums.
func (g *amd64) accumulate() {
	g.function("accumulateAVX2",
		"func(sums, weights, panel, pairs unsafe.Pointer, count, channels, slots, sumItem, weightItem int)",
		"accumulateAVX2 adds, for pairs of items, the lanes that each meets in every slot: the",
		"first firstOnly lanes are the first item's, the next shared lanes are both items', the",
		"last secondOnly lanes the second's. channels is a multiple of 8; weights, sumItem,",
		"weightItem and weightSkip are in bytes.",
		"",
		"\tfor _, p := range pairs[:count] { for slot := range slots { for each lane of the slot { for c := range channels {",
		"\t\tsums[p.item*sumItem+c] += weights[p.weights+lane] * panel[(p.lane+lane)*channels+c] // if the first item's",
		"\t\tsums[(p.item+1)*sumItem+c] += weights[p.weights+weightItem+lane] * panel[...] } } } } // if the second's",
		"",
		"weightSkip bytes and laneSkip lanes lie between the last lane of a slot and the first of the next.")
	pairs := g.arg("pairs")
	g.repeat(g.arg("count"), func() {
		row, left := g.arg("channels"), g.GP64()
		g.MOVQ(row, left)
		g.SHLQ(operand.U8(2), row)
		sum1 := g.arg("sumItem")
		sum0, panel := g.scaled("sums", mem(pairs, sumPair.at("Item")), sum1), g.scaled("panel", mem(pairs, sumPair.at("Lane")), row)
		g.ADDQ(sum0, sum1)
		for _, n := range []int{4, 2, 1} {
			top, done := g.label("block"), g.label("narrower")
			g.Label(top)
			g.CMPQ(left, operand.U8(8*n))
			g.JLT(operand.LabelRef(done))
			g.accumulateBlock(n, pairs, sum0, sum1, panel, row)
			for _, p := range []reg.Register{sum0, sum1, panel} {
				g.ADDQ(operand.U32(vector*n), p)
			}
			g.SUBQ(operand.U8(8*n), left)
			g.JMP(operand.LabelRef(top))
			g.Label(done)
		}
		g.ADDQ(operand.U8(sumPair.size), pairs)
	})
	g.leave()
}

// accumulateBlock computes n vectors of channels.
func (g *amd64) accumulateBlock(n int, pairs, sum0, sum1, panel, row reg.Register) {
	a, b := g.registers(n, g.YMM), g.registers(n, g.YMM)
	for i := range n {
		g.VMOVUPS(mem(sum0, vector*i), a[i])
		g.VMOVUPS(mem(sum1, vector*i), b[i])
	}
	weights, second, slots := g.moved("weights", mem(pairs, sumPair.at("Weights"))), g.arg("weightItem"), g.arg("slots")
	p, skip := g.GP64(), g.GP64()
	g.MOVQ(panel, p)
	g.MOVQ(mem(pairs, sumPair.at("LaneSkip")), skip)
	g.IMULQ(row, skip)
	next := func() {
		g.ADDQ(operand.U8(4), weights)
		g.ADDQ(row, p)
	}
	only := func(weight operand.Mem, sums []reg.VecVirtual) {
		w := g.YMM()
		g.VBROADCASTSS(weight, w)
		for i := range n {
			g.VFMADD231PS(mem(p, vector*i), w, sums[i])
		}
		next()
	}
	lanes := func(field string) reg.Register {
		r := g.GP64()
		g.MOVQ(mem(pairs, sumPair.at(field)), r)
		return r
	}
	g.repeat(slots, func() {
		g.repeatIfAny(lanes("FirstOnly"), func() { only(mem(weights, 0), a) })
		g.repeatIfAny(lanes("Shared"), func() {
			w0, w1 := g.YMM(), g.YMM()
			g.VBROADCASTSS(mem(weights, 0), w0)
			g.VBROADCASTSS(sum(weights, second), w1)
			for i := range n {
				v := g.YMM()
				g.VMOVUPS(mem(p, vector*i), v)
				g.VFMADD231PS(v, w0, a[i])
				g.VFMADD231PS(v, w1, b[i])
			}
			next()
		})
		g.repeatIfAny(lanes("SecondOnly"), func() { only(sum(weights, second), b) })
		g.ADDQ(mem(pairs, sumPair.at("WeightSkip")), weights)
		g.ADDQ(skip, p)
	})
	for i := range n {
		g.VMOVUPS(a[i], mem(sum0, vector*i))
		g.VMOVUPS(b[i], mem(sum1, vector*i))
	}
}

// transpose writes the kernel that packs rows into transposed panels.
func (g *amd64) transpose() {
	g.function("transposeAVX2", "func(dst, src unsafe.Pointer, blocks, pitch, step int)",
		"transposeAVX2 is, with strides in bytes,",
		"",
		"\tfor c := range 8*blocks { for lane := range 8 { dst[c*pitch+lane] = src[lane*step+c] } }")
	dst, src, blocks := g.arg("dst"), g.arg("src"), g.arg("blocks")
	pitches, steps := g.multiples(g.arg("pitch"), 8), g.multiples(g.arg("step"), 8)
	g.repeat(blocks, func() {
		g.squares(dst, pitches, func(lane, half int) operand.Mem {
			from := at(src, steps, lane)
			from.Disp = 16 * half
			return from
		})
		g.ADDQ(operand.U8(vector), src)
		g.LEAQ(at(dst, pitches, 8), dst)
	})
	g.leave()
}

// squares transposes 8 lanes of 8 channels. lane returns the operand of half the channels of a
// lane.
func (g *amd64) squares(dst reg.Register, pitches map[int]reg.Register, lane func(n, half int) operand.Mem) {
	for half := range 2 {
		r := g.registers(4, g.YMM)
		for i := range r {
			g.VBROADCASTF128(lane(i, half), r[i])
			g.VINSERTF128(operand.U8(1), lane(i+4, half), r[i], r[i])
		}
		t := g.registers(4, g.YMM)
		g.VUNPCKLPS(r[1], r[0], t[0])
		g.VUNPCKHPS(r[1], r[0], t[1])
		g.VUNPCKLPS(r[3], r[2], t[2])
		g.VUNPCKHPS(r[3], r[2], t[3])
		for i := range 4 {
			out := g.YMM()
			g.VSHUFPS(operand.U8([]int{0x44, 0xee}[i%2]), t[2+i/2], t[i/2], out)
			g.VMOVUPS(out, at(dst, pitches, 4*half+i))
		}
	}
}

// dot writes the dot product of two vectors.
func (g *amd64) dot() {
	g.function("dotAVX2", "func(a, b unsafe.Pointer, blocks int) float32",
		"dotAVX2 is",
		"",
		"\tfor i := range 8*blocks { sum += a[i] * b[i] }")
	a, b, blocks := g.arg("a"), g.arg("b"), g.arg("blocks")
	s, t := g.YMM(), g.YMM()
	g.VXORPS(s, s, s)
	g.repeatIfAny(blocks, func() {
		g.VMOVUPS(mem(a, 0), t)
		g.VFMADD231PS(mem(b, 0), t, s)
		g.ADDQ(operand.U8(vector), a)
		g.ADDQ(operand.U8(vector), b)
	})
	g.fold(s, g.VADDPS)
	g.Store(s.AsX(), g.ReturnIndex(0))
	g.leave()
}

// fold combines the 8 lanes of v into its first.
func (g *amd64) fold(v reg.VecVirtual, combine func(ops ...operand.Op)) {
	t := g.YMM()
	g.VEXTRACTF128(operand.U8(1), v, t.AsX())
	combine(t.AsX(), v.AsX(), v.AsX())
	g.VPERMILPS(operand.U8(0x4e), v.AsX(), t.AsX())
	combine(t.AsX(), v.AsX(), v.AsX())
	g.VPERMILPS(operand.U8(0xb1), v.AsX(), t.AsX())
	combine(t.AsX(), v.AsX(), v.AsX())
}

// prefetch writes the kernel that prefetches rows.
func (g *amd64) prefetch() {
	g.function("prefetchAVX2", "func(p unsafe.Pointer, rows, step, lines int)",
		"prefetchAVX2 asks for lines of 64 bytes of rows that are step bytes apart.")
	p, rows, step := g.arg("p"), g.arg("rows"), g.arg("step")
	g.repeat(rows, func() {
		q, lines := g.GP64(), g.arg("lines")
		g.MOVQ(p, q)
		g.repeat(lines, func() {
			g.PREFETCHT0(mem(q, 0))
			g.ADDQ(operand.U8(64), q)
		})
		g.ADDQ(step, p)
	})
	g.RET()
}

// peak writes the loop with which benchmarks measure the peak arithmetic rate of an instruction
// set.
func (g *amd64) peak(set string, lanes int, register func() reg.VecVirtual) {
	g.function("peak"+set, "func(rounds int)",
		fmt.Sprintf("peak%s does 12 multiply-adds of %d lanes per round, in registers only.", set, lanes))
	rounds, v, one := g.arg("rounds"), g.registers(12, register), register()
	g.zero(v)
	g.VXORPS(one, one, one)
	g.repeat(rounds, func() {
		for _, r := range v {
			g.VFMADD231PS(one, one, r)
		}
	})
	g.leave()
}
