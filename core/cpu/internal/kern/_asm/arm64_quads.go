// SPDX-License-Identifier: MIT

package main

import "fmt"

// This file has the kernels for quads with 8 lanes, two registers per vector. See abi.Quad and
// abi.Block.

func (g *arm64) blocks() {
	g.scoreQuads()
	g.softmaxQuads()
	g.gradientQuads()
	g.metQuads("accumulateQuads", true)
	g.metQuads("scatterQuads", false)
	g.transposeLanes()
	g.dotRows()
}

// mostGroups is the maximum number of groups of scoreQuads: sums of 4 items times 3 groups take
// 24 registers.
const mostGroups = 3

// prefetchStreams prefetches two rows of each stream and advances the streams. It uses R5
// to R10.
func (g *arm64) prefetchStreams() {
	g.get("Ahead", 5)
	g.get("Streams", 6)
	g.repeatIfAny(6, func() {
		g.op("MOVD %d(R5), R7", stream.at("Row"))
		g.op("MOVD %d(R5), R8", stream.at("Step"))
		for range 2 {
			again := g.label("lines")
			g.op("MOVD R7, R9")
			g.op("MOVD %d(R5), R10", stream.at("Lines"))
			g.at(again)
			g.op("PRFM (R9), PLDL2KEEP") // two lines at a time, so there may be one too many
			g.op("PRFM 64(R9), PLDL2KEEP")
			g.op("ADD $128, R9")
			g.op("SUBS $2, R10")
			g.op("BGT %s", again)
			g.op("ADD R8, R7")
		}
		g.op("MOVD R7, %d(R5)", stream.at("Row"))
		g.op("ADD $%d, R5", stream.size)
	})
}

// scoreQuads keeps quads in R1, quads left in R2, weights in R3 and items in R4.
func (g *arm64) scoreQuads() {
	g.functionOf(block, "scoreQuadsNEON", fmt.Sprintf(" is ScoreQuads with 8 lanes and up to %d groups.", mostGroups))
	for n := mostGroups; n >= 1; n-- {
		next := g.label("fewer")
		if n > 1 {
			g.get("Groups", 1)
			g.op("CMP $%d, R1", n)
			g.op("BNE %s", next)
		}
		g.get("Quads", 1)
		g.get("Count", 2)
		g.get("Weights", 3)
		g.get("Vectors", 4)
		g.get("Upper", 5)
		g.get("Lower", 6)
		for _, c := range scoreClasses {
			other := g.label("class")
			for r, set := range []bool{c.upper, c.lower} {
				if set {
					g.op("CBZ R%d, %s", 5+r, other)
				}
			}
			g.repeat(2, func() { g.scoreQuad(n, c) })
			g.op("RET")
			g.at(other)
		}
		g.at(next)
	}
}

// scoreQuad computes a quad with n groups: sums in V0..., items in V24 to V27 and R9 to
// R12, the groups' lanes in V28 to V31 and at R13...
func (g *arm64) scoreQuad(n int, class scoreClass) {
	const items, lanes = 24, 28
	g.prefetchStreams()
	g.get("Item", 5)
	g.get("Row", 6)
	g.op("MOVD R4, R9")
	g.op("ADD R5, R9, R10")
	g.op("ADD R6, R9, R11")
	g.op("ADD R6, R10, R12")
	g.op("ADD R5<<1, R4, R4")
	g.get("Panel", 5)
	g.op("MOVD %d(R1), R6", quad.at("Panel"))
	g.op("ADD R6, R5, R5")
	g.get("Offsets", 6)
	for i := range n {
		g.op("MOVD %d(R6), R%d", 8*i, 13+i)
		g.op("ADD R5, R%d, R%d", 13+i, 13+i)
	}
	g.get("Channels", 5)
	g.get("Pitch", 6)
	g.zero(0, 8*n)
	channel := func(lane int) {
		for k := range n {
			v := lanes + k%2*2
			g.load(v, 2, 13+k, "R6")
			for i := range 4 {
				if class.meets(i, k, n) {
					g.element((i*n+k)*2, v, items+i, lane)
					g.element((i*n+k)*2+1, v+1, items+i, lane)
				}
			}
		}
	}
	tail, done, top := g.label("tail"), g.label("done"), g.label("loop")
	g.op("SUBS $4, R5, R5")
	g.op("BLT %s", tail)
	g.at(top)
	for i := range 4 {
		g.load(items+i, 1, 9+i, "16")
	}
	for lane := range 4 {
		channel(lane)
	}
	g.op("SUBS $4, R5, R5")
	g.op("BGE %s", top)
	g.at(tail)
	g.op("ADDS $4, R5, R5")
	g.op("BEQ %s", done)
	g.op("MOVD $4, R7")
	g.repeat(5, func() {
		for i := range 4 {
			g.broadcast(items+i, 9+i, 7)
		}
		channel(0)
	})
	g.at(done)
	g.get("GroupStep", 5)
	g.get("WeightItem", 6)
	for i := range 4 {
		g.op("MOVD R3, R9")
		for k := range n {
			if class.meets(i, k, n) {
				g.store((i*n+k)*2, 2, 9, "R5")
			} else {
				g.op("ADD R5, R9, R9")
			}
		}
		g.op("ADD R6, R3, R3")
	}
	g.op("ADD $%d, R1", quad.size)
}

// metQuads writes a kernel for the lanes that quads meet in rows of a panel. With sums the lanes
// are added to the items, else the items to the lanes. Registers: R1 quads, R2 quads left, R3
// items, R4 weights, R5 panel, R6 items at the current channels, R7 channels left, R9 rows, R10
// bytes per lane, R11 bytes from a lane's weight to the next lane's, R15 bytes from an item's
// weights to the next item's. For R12 to R14 and R23 to R25 see quadPieces.
func (g *arm64) metQuads(name string, sums bool) {
	doc := map[bool]string{true: " is AccumulateQuads with 8 lanes.", false: " is ScatterQuads with 8 lanes."}[sums]
	g.functionOf(block, name+"NEON", doc)
	g.get("Quads", 1)
	g.get("Count", 2)
	g.get("Vectors", 3)
	g.get("Weights", 4)
	g.repeat(2, func() {
		g.prefetchStreams()
		g.get("Panel", 5)
		g.op("MOVD %d(R1), R6", quad.at("Rows"))
		g.op("ADD R6, R5, R5")
		g.op("MOVD R3, R6")
		g.get("Channels", 7)
		g.get("Lane", 10)
		g.get("Column", 11)
		g.get("WeightItem", 15)
		g.quadPieces()
		for _, n := range []int{4, 2} { // registers of channels
			top, done := g.label("block"), g.label("narrower")
			g.at(top)
			g.op("CMP $%d, R7", 4*n)
			g.op("BLT %s", done)
			g.metBlock(n, sums)
			g.op("ADD $%d, R6", 16*n)
			g.op("ADD $%d, R5", 16*n)
			g.op("SUB $%d, R7", 4*n)
			g.op("JMP %s", top)
			g.at(done)
		}
		g.get("Item", 8)
		g.op("ADD R8<<1, R3, R3")
		g.op("ADD R15<<2, R4, R4")
		g.op("ADD $%d, R1", quad.size)
	})
	g.op("RET")
}

// quadTails lists the possible remainders of the lanes that a quad meets: lanes of both items and
// of the right item. quadPieces leaves the index in this list, counted from 1, in R24.
var quadTails = []struct{ both, right int }{{3, 1}, {3, 0}, {1, 1}, {2, 1}, {2, 0}, {1, 0}}

// quadPieces divides the lanes that a quad meets (of the left item, of both items, of the right
// item) into single lanes and pieces of up to four lanes whose weights are adjacent in memory.
// It leaves these counts: R12 single lanes of the left item, R13 whether there is a piece with
// one lane of the left item and three of both, R14 pieces of four lanes of both, R24 the tail
// (see quadTails), R23 single lanes of both if weights are not adjacent, R25 single lanes of the
// right item.
func (g *arm64) quadPieces() {
	fours, done := g.label("fours"), g.label("done")
	g.op("MOVD %d(R1), R12", quad.at("Left"))
	g.op("MOVD %d(R1), R23", quad.at("Both"))
	g.op("MOVD %d(R1), R25", quad.at("Right"))
	g.op("MOVD $0, R13")
	g.op("MOVD $0, R14")
	g.op("MOVD $0, R24")
	g.op("CMP $4, R11")
	g.op("BNE %s", done)
	g.op("CMP $1, R12")
	g.op("BNE %s", fours)
	g.op("CMP $3, R23")
	g.op("BLT %s", fours)
	g.op("MOVD $1, R13")
	g.op("MOVD $0, R12")
	g.op("SUB $3, R23")
	g.at(fours)
	g.op("LSR $2, R23, R14")
	g.op("AND $3, R23, R23")
	for i, tail := range quadTails {
		other := g.label("tail")
		g.op("CMP $%d, R23", tail.both)
		g.op("BNE %s", other)
		if tail.right > 0 {
			g.op("CMP $%d, R25", tail.right)
			g.op("BNE %s", other)
			g.op("MOVD $0, R25")
		}
		g.op("MOVD $%d, R24", i+1)
		g.op("MOVD $0, R23")
		g.op("JMP %s", done)
		g.at(other)
	}
	g.at(done)
}

// quadItems calls f for each of the four items, with the address of its channels in R8.
func (g *arm64) quadItems(f func(q int)) {
	g.get("Item", 9)
	g.get("Row", 16)
	g.op("MOVD R6, R8")
	f(0)
	g.op("ADD R9, R8, R8")
	f(1)
	g.op("ADD R16, R6, R8")
	f(2)
	g.op("ADD R9, R8, R8")
	f(3)
}

// metBlock loops over the lanes for n registers of channels of the four items, in V0...
func (g *arm64) metBlock(n int, sums bool) {
	g.quadItems(func(q int) { g.load(q*n, n, 8, "") })
	g.get("Rows", 9)
	for _, class := range []struct {
		rows  string
		items []int // first items of the rows of items
	}{{"Upper", []int{0}}, {"Both", []int{0, 2}}, {"Lower", []int{2}}} {
		g.get(class.rows, 16)
		g.repeatIfAny(16, func() { g.metRow(n, sums, class.items) })
	}
	if sums {
		g.quadItems(func(q int) { g.store(q*n, n, 8, "") })
	}
}

// weightsAt is the register with the address of item 0's weights; the registers of the other
// items follow.
const weightsAt = 19

// metRow loops over the lanes of a row of keys for some rows of items. R17 is the address of the
// lane.
func (g *arm64) metRow(n int, sums bool, rows []int) {
	g.op("MOVD %d(R9), R17", metRow.at("Panel"))
	g.op("ADD R5, R17, R17")
	g.op("MOVD %d(R9), R%d", metRow.at("Weights"), weightsAt)
	g.op("ADD $%d, R9", metRow.size)
	g.op("ADD R4, R%d, R%d", weightsAt, weightsAt)
	if rows[len(rows)-1] > 0 {
		g.op("ADD R15<<1, R%d, R%d", weightsAt, weightsAt+2)
	}
	for _, first := range rows {
		g.op("ADD R15, R%d, R%d", weightsAt+first, weightsAt+first+1)
	}
	items := func(parts ...int) (q []int) {
		for _, first := range rows {
			for _, part := range parts {
				q = append(q, first+part)
			}
		}
		return q
	}
	left, both, right := items(0), items(0, 1), items(1)
	single := func(count int, q []int) {
		done := g.label("none")
		g.op("CBZ R%d, %s", count, done)
		g.op("MOVD R%d, R26", count)
		g.repeat(26, func() {
			for _, i := range both { // advance all weights
				g.broadcast(24+i, weightsAt+i, 11)
			}
			g.metLane(n, sums, q, 0)
		})
		g.at(done)
	}
	lanes := func(of ...[]int) { // loads four weights at a time
		step := ""
		if len(of) == 4 {
			step = "16"
		}
		for _, i := range both {
			g.load(24+i, 1, weightsAt+i, step)
		}
		for lane, q := range of {
			g.metLane(n, sums, q, lane)
		}
	}
	single(12, left)
	g.ifAny(13, func() { lanes(left, both, both, both) })
	g.op("MOVD R14, R26")
	g.repeatIfAny(26, func() { lanes(both, both, both, both) })
	single(23, both)
	g.ifAny(24, func() {
		done := g.label("tails")
		for i, tail := range quadTails {
			next := g.label("tail")
			if i < len(quadTails)-1 {
				g.op("CMP $%d, R24", i+1)
				g.op("BNE %s", next)
			}
			var of [][]int
			for range tail.both {
				of = append(of, both)
			}
			for range tail.right {
				of = append(of, right)
			}
			lanes(of...)
			if tail.right == 0 { // more lanes may follow
				for _, i := range both {
					g.op("ADD $%d, R%d", 4*tail.both, weightsAt+i)
				}
			}
			g.op("JMP %s", done)
			g.at(next)
		}
		g.at(done)
	})
	single(25, right)
}

// metLane multiplies one lane, at R17, and the items q, whose weights are lanes of V24...
func (g *arm64) metLane(n int, sums bool, items []int, lane int) {
	const x = 16
	if sums {
		g.load(x, n, 17, "R10")
	} else {
		g.load(x, n, 17, "")
	}
	for _, q := range items {
		for i := range n {
			if sums {
				g.element(q*n+i, x+i, 24+q, lane)
			} else {
				g.element(x+i, q*n+i, 24+q, lane)
			}
		}
	}
	if !sums {
		g.store(x, n, 17, "R10")
	}
}

// transposeLanes writes the kernel that packs rows into score panels, in squares of 4 by 4.
func (g *arm64) transposeLanes() {
	g.function("transposeLanesNEON", []string{"dst", "rows"}, []string{"vectors", "pitch"}, false,
		" is Transpose of BlockTwins with 8 lanes.")
	g.arg("dst", 0)
	g.arg("rows", 1)
	g.arg("vectors", 2)
	g.arg("pitch", 3)
	at := []int{4, 5, 6, 7, 8, 9, 10, 11}
	for lane, r := range at {
		g.op("MOVD %d(R1), R%d", 8*lane, r)
	}
	g.op("LSL $1, R2, R2")
	g.repeat(2, func() {
		for lane, r := range at {
			g.load(lane, 1, r, "16")
		}
		for half := range 2 {
			v := 4 * half
			g.three("ZIP1", 16, v, v+2)
			g.three("ZIP2", 17, v, v+2)
			g.three("ZIP1", 18, v+1, v+3)
			g.three("ZIP2", 19, v+1, v+3)
			g.three("ZIP1", 20+half, 16, 18) // channel c is in V(20+2c) and V(21+2c)
			g.three("ZIP2", 22+half, 16, 18)
			g.three("ZIP1", 24+half, 17, 19)
			g.three("ZIP2", 26+half, 17, 19)
		}
		for c := range 4 {
			g.store(20+2*c, 2, 0, "R3")
		}
	})
	g.op("RET")
}

// dotRows writes the dot products of rows.
func (g *arm64) dotRows() {
	g.function("dotRowsNEON", []string{"dst", "a", "b"}, []string{"rows", "vectors", "step", "aStep", "bStep"}, false,
		" is DotRows of BlockTwins with 8 lanes.")
	for i, name := range []string{"dst", "a", "b", "rows", "vectors", "step", "aStep", "bStep"} {
		g.arg(name, i)
	}
	g.repeat(3, func() {
		g.op("MOVD R1, R8")
		g.op("MOVD R2, R9")
		g.op("MOVD R4, R10")
		g.zero(0, 2)
		g.repeat(10, func() {
			g.load(2, 2, 8, "32")
			g.load(4, 2, 9, "32")
			g.both("FMLA", 0, 2, 4)
		})
		g.three("FADD", 0, 0, 1)
		g.fold("FADDP", 0)
		g.single("STRS", 0, 0)
		g.op("ADD R5, R0, R0")
		g.op("ADD R6, R1, R1")
		g.op("ADD R7, R2, R2")
	})
	g.op("RET")
}
