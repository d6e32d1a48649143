// SPDX-License-Identifier: MIT

package main

// scoreRows writes the score kernel. Sums of two items times 7 rows of 8 lanes take 28
// registers; the panel and the vectors take two each.
func (g *arm64) scoreRows() {
	g.function("scoreRowsNEON", []string{"dst", "vectors", "panel", "pairs"},
		[]string{"count", "depth", "pitch", "step", "rows", "dstStep", "dstItem", "vectorItem"}, false,
		" is scoreRowsAVX2; see the prototype for amd64.")
	for n := mostRows; n >= 1; n-- {
		next := g.label("fewer")
		g.arg("rows", 0)
		g.op("CMP $%d, R0", n)
		g.op("BNE %s", next)
		g.arg("pairs", 0)
		g.arg("count", 1)
		g.repeat(1, func() {
			g.scorePair(n)
			g.op("ADD $%d, R0", scorePair.size)
		})
		g.op("RET")
		g.at(next)
	}
	g.op("RET")
}

// Registers of scorePair: R0 pairs, R1 pairs left, R2 R3 vectors, R4 depth left,
// R5 pitch, R6... the rows.
func (g *arm64) scorePair(n int) {
	const row, q, p = 6, 28, 30
	g.arg("vectors", 2)
	g.arg("vectorItem", 3)
	g.op("MOVD %d(R0), R4", scorePair.at("Item"))
	g.op("MUL R3, R4, R4")
	g.op("ADD R4, R2, R2")
	g.op("ADD R2, R3, R3")
	g.arg("panel", row)
	g.op("MOVD %d(R0), R4", scorePair.at("Panel"))
	g.op("ADD R4, R%d, R%d", row, row)
	g.arg("step", 4)
	for i := 1; i < n; i++ {
		g.op("ADD R4, R%d, R%d", row+i-1, row+i)
	}
	g.arg("pitch", 5)
	g.arg("depth", 4)
	g.zero(0, 4*n)
	step := func(lane int) {
		for i := range n {
			g.op("VLD1.P (R%d)(R5), [V%d.S4, V%d.S4]", row+i, p, p+1)
			g.element(4*i, p, q, lane)
			g.element(4*i+1, p+1, q, lane)
			g.element(4*i+2, p, q+1, lane)
			g.element(4*i+3, p+1, q+1, lane)
		}
	}
	tail, done := g.label("tail"), g.label("done")
	g.op("SUBS $4, R4, R4")
	g.op("BLT %s", tail)
	top := g.label("loop")
	g.at(top)
	g.op("VLD1.P 16(R2), [V%d.S4]", q)
	g.op("VLD1.P 16(R3), [V%d.S4]", q+1)
	for lane := range 4 {
		step(lane)
	}
	g.op("SUBS $4, R4, R4")
	g.op("BGE %s", top)
	g.at(tail)
	g.op("ADDS $4, R4, R4")
	g.op("BEQ %s", done)
	g.repeat(4, func() {
		g.single("LDRS", q, 2)
		g.single("LDRS", q+1, 3)
		g.op("ADD $4, R2")
		g.op("ADD $4, R3")
		step(0)
	})
	g.at(done)
	g.arg("dst", 2)
	g.op("MOVD %d(R0), R3", scorePair.at("Dst"))
	g.op("ADD R3, R2, R2")
	g.arg("dstItem", 3)
	g.op("ADD R2, R3, R3")
	g.arg("dstStep", 4)
	for i := range n {
		g.op("VST1.P [V%d.S4, V%d.S4], (R2)(R4)", 4*i, 4*i+1)
		g.op("VST1.P [V%d.S4, V%d.S4], (R3)(R4)", 4*i+2, 4*i+3)
	}
}

// accumulate writes the kernel for weighted sums. Registers: R0 pairs, R1 pairs left, R2
// R3 sums, R4 panel, R5 bytes of a row, R6 channels left, R7 weights, R8 distance
// to the second item's, R9 slots left, R10 panel at the lane, R11 skip of the
// panel, R12 skip of the weights, R13 lanes left.
func (g *arm64) accumulate() {
	g.function("accumulateNEON", []string{"sums", "weights", "panel", "pairs"},
		[]string{"count", "channels", "slots", "sumItem", "weightItem"}, false,
		" is accumulateAVX2; see the prototype for amd64.")
	g.arg("pairs", 0)
	g.arg("count", 1)
	g.repeat(1, func() {
		g.arg("channels", 6)
		g.op("LSL $2, R6, R5")
		g.arg("sums", 2)
		g.arg("sumItem", 3)
		g.op("MOVD %d(R0), R4", sumPair.at("Item"))
		g.op("MUL R3, R4, R4")
		g.op("ADD R4, R2, R2")
		g.op("ADD R2, R3, R3")
		g.arg("panel", 4)
		g.op("MOVD %d(R0), R7", sumPair.at("Lane"))
		g.op("MUL R5, R7, R7")
		g.op("ADD R7, R4, R4")
		for _, n := range []int{4, 2, 1} {
			top, done := g.label("block"), g.label("narrower")
			g.at(top)
			g.op("CMP $%d, R6", 8*n)
			g.op("BLT %s", done)
			g.accumulateBlock(2 * n)
			g.op("ADD $%d, R2", 32*n)
			g.op("ADD $%d, R3", 32*n)
			g.op("ADD $%d, R4", 32*n)
			g.op("SUB $%d, R6", 8*n)
			g.op("JMP %s", top)
			g.at(done)
		}
		g.op("ADD $%d, R0", sumPair.size)
	})
	g.op("RET")
}

// accumulateBlock computes n vectors of 4 channels: sums of the first item in V0...,
// of the second in V8..., the panel in V16..., weights in V24 and V25.
func (g *arm64) accumulateBlock(n int) {
	for i := range n {
		g.quad("LDRQ", i, 2, i)
		g.quad("LDRQ", 8+i, 3, i)
	}
	g.arg("weights", 7)
	g.op("MOVD %d(R0), R10", sumPair.at("Weights"))
	g.op("ADD R10, R7, R7")
	g.arg("weightItem", 8)
	g.op("ADD R7, R8, R8")
	g.arg("slots", 9)
	g.op("MOVD R4, R10")
	g.op("MOVD %d(R0), R11", sumPair.at("LaneSkip"))
	g.op("MUL R5, R11, R11")
	g.op("MOVD %d(R0), R12", sumPair.at("WeightSkip"))
	lanes := func(field string, first, second bool) {
		g.op("MOVD %d(R0), R13", sumPair.at(field))
		g.repeatIfAny(13, func() {
			g.single("LDRS", 24, 7)
			g.single("LDRS", 25, 8)
			g.op("ADD $4, R7")
			g.op("ADD $4, R8")
			for i := 0; i < n; i += 2 {
				g.pair(16+i, 17+i, 10, i/2)
			}
			g.op("ADD R5, R10, R10")
			for i := range n {
				if first {
					g.element(i, 16+i, 24, 0)
				}
				if second {
					g.element(8+i, 16+i, 25, 0)
				}
			}
		})
	}
	g.repeat(9, func() {
		lanes("FirstOnly", true, false)
		lanes("Shared", true, true)
		lanes("SecondOnly", false, true)
		g.op("ADD R12, R7, R7")
		g.op("ADD R12, R8, R8")
		g.op("ADD R11, R10, R10")
	})
	for i := range n {
		g.quad("STRQ", i, 2, i)
		g.quad("STRQ", 8+i, 3, i)
	}
}

// transpose writes the kernel that packs rows into transposed panels, in squares of 4 by 4.
func (g *arm64) transpose() {
	g.function("transposeNEON", []string{"dst", "src"}, []string{"blocks", "pitch", "step"}, false,
		" is transposeAVX2; see the prototype for amd64.")
	g.arg("dst", 0)
	g.arg("src", 1)
	g.arg("blocks", 2)
	g.op("LSL $1, R2, R2")
	g.arg("pitch", 3)
	g.arg("step", 4)
	g.repeat(2, func() {
		g.op("MOVD R1, R5")
		for lane := range 8 {
			g.quad("LDRQ", lane, 5, 0)
			g.op("ADD R4, R5, R5")
		}
		for half := 0; half < 8; half += 4 {
			g.three("ZIP1", 16, half, half+2)
			g.three("ZIP2", 17, half, half+2)
			g.three("ZIP1", 18, half+1, half+3)
			g.three("ZIP2", 19, half+1, half+3)
			g.three("ZIP1", 20+half, 16, 18)
			g.three("ZIP2", 21+half, 16, 18)
			g.three("ZIP1", 22+half, 17, 19)
			g.three("ZIP2", 23+half, 17, 19)
		}
		for c := range 4 {
			g.quad("STRQ", 20+c, 0, 0)
			g.quad("STRQ", 24+c, 0, 1)
			g.op("ADD R3, R0, R0")
		}
		g.op("ADD $16, R1")
	})
	g.op("RET")
}

// dot writes the dot product of two vectors.
func (g *arm64) dot() {
	g.function("dotNEON", []string{"a", "b"}, []string{"blocks"}, true, " is dotAVX2; see the prototype for amd64.")
	g.arg("a", 0)
	g.arg("b", 1)
	g.arg("blocks", 2)
	g.zero(0, 2)
	g.repeatIfAny(2, func() {
		g.op("VLD1.P 32(R0), [V2.S4, V3.S4]")
		g.op("VLD1.P 32(R1), [V4.S4, V5.S4]")
		g.three("FMLA", 0, 2, 4)
		g.three("FMLA", 1, 3, 5)
	})
	g.three("FADD", 0, 0, 1)
	g.fold("FADDP", 0)
	g.result(0)
}

// peak writes the loop with which benchmarks measure the peak arithmetic rate.
func (g *arm64) peak() {
	g.function("peakNEON", nil, []string{"rounds"}, false, " does 24 multiply-adds of 4 lanes per round, in registers only.")
	g.arg("rounds", 0)
	g.zero(0, 25)
	g.repeat(0, func() {
		for v := range 24 {
			g.three("FMLA", v, 24, 24)
		}
	})
	g.op("RET")
}
