// SPDX-License-Identifier: MIT

package main

import "fmt"

// bitsOfLanes is the first of two registers in which each lane has its own bit of a mask set.
const bitsOfLanes = 12

// loadBits loads the registers of bitsOfLanes.
func (g *arm64) loadBits() {
	for lane := range 8 {
		g.op("MOVD $%d, R26", 1<<lane)
		g.op("VMOV R26, V%d.S[%d]", bitsOfLanes+lane/4, lane%4)
	}
}

// laneMasks expands the lowest 8 bits of a register to masks of 8 lanes in V10 and V11.
func (g *arm64) laneMasks(bits int) {
	g.op("VDUP R%d, V10.S4", bits)
	g.three("CMTST", 11, 10, bitsOfLanes+1)
	g.three("CMTST", 10, 10, bitsOfLanes)
}

// eachQuadVector loops over the vectors of an item. f gets the mask of a vector's lanes in R11
// and must add R9 to the addresses in R7 and R14. For groups of which the item meets nothing,
// nothing is called instead, unless it is nil, and must advance the addresses too. nextGroup may
// be nil. Registers: R8 groups left, R9 bytes from a vector to the next, R10 vectors per group,
// R6 masks, R5 the item's mask.
func (g *arm64) eachQuadVector(q int, nextGroup, f, nothing func()) {
	g.op("MOVWU %d(R1), R5", quad.at("Masks")+4*(q%2))
	g.get("Masks", 6)
	if q/2 > 0 {
		g.op("ADD $4, R6")
	}
	vectors := func(f func()) {
		narrow, done := g.label("narrow"), g.label("done")
		g.op("CMP $1, R10")
		g.op("BEQ %s", narrow)
		g.op("MOVD $32, R9")
		g.op("MOVD R10, R13")
		g.repeat(13, func() {
			f()
			g.op("LSR $8, R11, R11")
		})
		g.get("GroupStep", 9)
		g.op("SUB R10<<5, R9, R9")
		g.op("ADD R9, R7, R7")
		g.op("ADD R9, R14, R14")
		g.op("JMP %s", done)
		g.at(narrow)
		g.get("GroupStep", 9)
		f()
		g.at(done)
	}
	g.get("Groups", 8)
	g.repeat(8, func() {
		if nextGroup != nil {
			nextGroup()
		}
		g.op("MOVWU.P 8(R6), R11")
		g.op("ANDS R5, R11, R11")
		if nothing == nil {
			vectors(f)
			return
		}
		some, next := g.label("some"), g.label("next")
		g.op("BNE %s", some)
		vectors(nothing)
		g.op("JMP %s", next)
		g.at(some)
		vectors(f)
		g.at(next)
	})
}

// quadWeights writes a function for the weights of quads: a loop over quads, with item as the code
// for each of its four items. next, unless it is nil, writes code before the loop. Registers: R1
// quads, R2 quads left, R3 weights, R4 bytes from an item's weights to the next item's, R10
// vectors per group.
func (g *arm64) quadWeights(name, twin string, item func(q int), next func()) {
	g.functionOf(block, name+"NEON", fmt.Sprintf(" is %s with 8 lanes.", twin))
	g.loadExponent()
	g.loadBits()
	g.get("Quads", 1)
	g.get("Count", 2)
	g.get("Weights", 3)
	g.get("WeightItem", 4)
	g.get("Wide", 10)
	if next != nil {
		next()
	}
	g.repeat(2, func() {
		for q := range 4 {
			item(q)
			g.op("ADD R4, R3, R3")
		}
		g.op("ADD $%d, R1", quad.size)
	})
	g.op("RET")
}

// softmaxQuads leaves the logarithm to Go.
func (g *arm64) softmaxQuads() {
	const top, total, lowest = 31, 31, 30
	g.quadWeights("softmaxQuads", "SoftmaxQuads but for the logarithm and the inverse: it stores maxima and sums", func(q int) {
		g.three("ORR", top, lowest, lowest)
		g.op("MOVD R3, R7")
		g.eachQuadVector(q, nil, func() {
			g.laneMasks(11)
			g.load(0, 2, 7, "")
			g.three("BIF", 0, lowest, 10)
			g.three("BIF", 1, lowest, 11)
			g.three("FMAXNM", top, top, 0)
			g.three("FMAXNM", top, top, 1)
			g.store(0, 2, 7, "R9")
		}, func() {
			g.zero(0, 2) // as the exponential of nothing
			g.store(0, 2, 7, "R9")
		})
		g.fold("FMAXNMP", top)
		place := func(row int) {
			g.get("LSE", 5)
			g.get("NumberRow", 6)
			for range row {
				g.op("ADD R6, R5, R5")
			}
			g.op("ADD R15<<2, R5, R5")
			if q%2 > 0 {
				g.op("ADD $4, R5")
			}
		}
		place(q / 2)
		g.single("STRS", top, 5)
		g.three("FCMEQ", 7, top, lowest)
		g.three("BIC", 6, top, 7)
		g.zero(total, total+1)
		g.op("MOVD R3, R7")
		g.eachQuadVector(q, nil, func() {
			g.load(0, 2, 7, "")
			for v := range 2 {
				g.three("FSUB", v, v, 6)
				g.exp(v)
				g.three("FADD", total, total, v)
			}
			g.store(0, 2, 7, "R9")
		}, func() { g.op("ADD R9, R7, R7") })
		g.fold("FADDP", total)
		place(2 + q/2)
		g.single("STRS", total, 5)
		if q == 3 {
			g.op("ADD $2, R15")
		}
	}, func() { g.op("MOVD $0, R15") }) // items of a row of items that are done
}

// gradientQuads writes the gradient of the softmax.
func (g *arm64) gradientQuads() {
	vector := func(load func()) func() {
		return func() {
			g.laneMasks(11)
			g.load(0, 2, 7, "")
			load()
			for v := range 2 {
				g.three("FSUB", v, v, 6+v)
				g.exp(v)
				g.three("AND", v, v, 10+v)
			}
			g.store(0, 2, 7, "R9")
			g.load(2, 2, 14, "")
			g.both("FSUB", 2, 2, 8)
			g.both("FMUL", 0, 0, 2)
			g.store(0, 2, 14, "R9")
		}
	}
	nothing := func() {
		g.zero(0, 2)
		g.store(0, 2, 7, "R9")
		g.store(0, 2, 14, "R9")
	}
	begin := func() {
		g.op("MOVD R3, R7")
		g.get("Weights", 5)
		g.get("Gradients", 14)
		g.op("SUB R5, R14, R14")
		g.op("ADD R7, R14, R14")
	}
	g.quadWeights("gradientItems", "GradientItems", func(q int) {
		g.get("NumberRow", 5)
		for i, field := range []string{"LSE", "Delta"} {
			g.get(field, 6)
			if q/2 > 0 {
				g.op("ADD R5, R6, R6")
			}
			g.op("ADD R15<<2, R6, R6")
			if q%2 > 0 {
				g.op("ADD $4, R6")
			}
			g.single("LD1R", 6+2*i, 6)
			g.three("ORR", 7+2*i, 6+2*i, 6+2*i)
		}
		begin()
		g.eachQuadVector(q, nil, vector(func() {}), nothing)
		if q == 3 {
			g.op("ADD $2, R15")
		}
	}, func() { g.op("MOVD $0, R15") }) // items of a row of items that are done
	g.quadWeights("gradientLanesOfQuads", "GradientLanes", func(q int) {
		begin()
		g.get("Offsets", 15)
		g.eachQuadVector(q, func() {
			g.op("MOVD.P 8(R15), R16")
			g.op("MOVD %d(R1), R17", quad.at("Panel"))
			g.op("ADD R17, R16, R16")
			g.get("Delta", 17)
			g.op("ADD R16, R17, R17")
			g.get("LSE", 19)
			g.op("ADD R19, R16, R16")
		}, vector(func() {
			g.load(6, 2, 16, "32")
			g.load(8, 2, 17, "32")
		}), nothing)
	}, nil)
}
