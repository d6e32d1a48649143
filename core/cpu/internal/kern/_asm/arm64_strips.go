// SPDX-License-Identifier: MIT

package main

// strips writes the kernels for windows that are single rows.
func (g *arm64) strips() {
	g.dots()
	g.sums()
	g.stripGradients()
}

// field loads a field of the structure at R0 into a general register.
func (g *arm64) field(at, r int) { g.op("MOVD %d(R0), R%d", at, r) }

// stripCall writes a function of an abi.Strip with f as the body of a loop over items. Registers:
// R0 the call, R1 items left, R2 dst, R3 vectors, R4 rows, R5 factors, R6 count,
// R7 blocks, R8 step; f may use R9 and up.
func (g *arm64) stripCall(name string, f func()) {
	g.functionOf(strip, name+"NEON", " is "+name+"AVX2; see the prototype for amd64.")
	for r, at := range []int{strip.at("Items"), strip.at("Dst"), strip.at("Vectors"), strip.at("Rows"), strip.at("Factors"), strip.at("Count"), strip.at("Eights"), strip.at("Step")} {
		g.field(at, 1+r)
	}
	g.repeat(1, func() {
		f()
		for r, at := range []int{strip.at("DstStep"), strip.at("VectorStep"), strip.at("Advance"), strip.at("FactorStep")} {
			g.field(at, 9)
			g.op("ADD R9, R%d, R%d", 2+r, 2+r)
		}
	})
	g.op("RET")
}

// dots keeps dst in R9, rows in R10 and the number of keys left in R11.
func (g *arm64) dots() {
	g.stripCall("dots", func() {
		g.op("MOVD R2, R9")
		g.op("MOVD R4, R10")
		g.op("MOVD R6, R11")
		whole, rest, done := g.label("whole"), g.label("rest"), g.label("done")
		g.at(whole)
		g.op("CMP $8, R11")
		g.op("BLT %s", rest)
		g.dotGroup(8)
		g.op("ADD R8<<3, R10, R10")
		g.op("ADD $32, R9")
		g.op("SUB $8, R11")
		g.op("JMP %s", whole)
		g.at(rest)
		for n := 7; n >= 1; n-- {
			next := g.label("fewer")
			g.op("CMP $%d, R11", n)
			g.op("BNE %s", next)
			g.dotGroup(n)
			g.op("JMP %s", done)
			g.at(next)
		}
		g.at(done)
	})
}

// dotGroup computes the dot products of a vector with n rows: two sums per row in
// V0..., the vector in V16 and V17, rows in V18...
func (g *arm64) dotGroup(n int) {
	rows := []int{12, 13, 14, 15, 16, 17, 19, 20}[:n] // R18 is reserved by the platform
	g.op("MOVD R10, R12")
	for i := 1; i < n; i++ {
		g.op("ADD R8, R%d, R%d", rows[i-1], rows[i])
	}
	g.zero(0, 2*n)
	g.op("MOVD R3, R21")
	g.op("MOVD R7, R22")
	g.repeat(22, func() {
		g.pair(16, 17, 21, 0)
		g.op("ADD $32, R21")
		for i, r := range rows {
			v := 18 + i%4*2
			g.pair(v, v+1, r, 0)
			g.op("ADD $32, R%d", r)
			g.three("FMLA", 2*i, v, 16)
			g.three("FMLA", 2*i+1, v+1, 17)
		}
	})
	last := func(i int) int { return 2 * min(i, n-1) }
	for i := range n {
		g.three("FADD", 2*i, 2*i, 2*i+1)
	}
	g.single("LD1R", 28, 5)
	for half := range 2 {
		i := 4 * half
		g.three("FADDP", 16, last(i), last(i+1))
		g.three("FADDP", 17, last(i+2), last(i+3))
		g.three("FADDP", 16, 16, 17)
		g.three("FMUL", 16, 16, 28)
		g.quad("STRQ", 16, 9, half)
	}
}

// sums keeps dst in R9, rows in R10 and the number of blocks left in R11.
func (g *arm64) sums() {
	g.stripCall("sums", func() {
		g.op("MOVD R2, R9")
		g.op("MOVD R4, R10")
		g.op("MOVD R7, R11")
		for _, n := range []int{8, 4, 2, 1} {
			top, done := g.label("block"), g.label("narrower")
			g.at(top)
			g.op("CMP $%d, R11", n)
			g.op("BLT %s", done)
			g.sumBlock(2 * n)
			g.op("ADD $%d, R9", 32*n)
			g.op("ADD $%d, R10", 32*n)
			g.op("SUB $%d, R11", n)
			g.op("JMP %s", top)
			g.at(done)
		}
	})
}

// sumBlock computes n vectors of 4 channels: sums in V0..., rows in V16..., the weight
// in V30, the factor in V31.
func (g *arm64) sumBlock(n int) {
	g.zero(0, n)
	g.op("MOVD R10, R12")
	g.op("MOVD R3, R13")
	g.op("MOVD R6, R14")
	g.field(strip.at("WeightStep"), 15)
	g.repeatIfAny(14, func() {
		g.single("LDRS", 30, 13)
		g.op("ADD R15, R13, R13")
		for i := 0; i < n; i += 2 {
			v := 16 + i%8
			g.pair(v, v+1, 12, i/2)
			g.element(i, v, 30, 0)
			g.element(i+1, v+1, 30, 0)
		}
		g.op("ADD R8, R12, R12")
	})
	fresh, done := g.label("fresh"), g.label("done")
	g.single("LD1R", 31, 5)
	g.field(strip.at("Add"), 14)
	g.op("CBZ R14, %s", fresh)
	for i := range n {
		g.quad("LDRQ", 16, 9, i)
		g.three("FMLA", 16, i, 31)
		g.quad("STRQ", 16, 9, i)
	}
	g.op("JMP %s", done)
	g.at(fresh)
	for i := range n {
		g.three("FMUL", i, i, 31)
		g.quad("STRQ", i, 9, i)
	}
	g.at(done)
}

// stripGradients keeps the mask in V1, lse in V6, delta in V7 and a gradient in V8.
func (g *arm64) stripGradients() {
	g.function("stripGradientsNEON", []string{"rows", "gradients", "masks", "lses", "deltas"},
		[]string{"items", "columns", "rowStep"}, false, " is stripGradientsAVX2; see the prototype for amd64.")
	for i, a := range []string{"rows", "gradients", "masks", "lses", "deltas", "items", "rowStep"} {
		g.arg(a, 9+i)
	}
	g.loadExponent()
	g.repeat(14, func() {
		g.single("LD1R", 6, 12)
		g.single("LD1R", 7, 13)
		g.op("MOVD R9, R0")
		g.op("MOVD R10, R1")
		g.op("MOVD R11, R2")
		g.arg("columns", 3)
		g.op("LSL $1, R3, R3")
		g.repeat(3, func() {
			g.op("VLD1.P 16(R2), [V1.S4]")
			g.quad("LDRQ", 0, 0, 0)
			g.three("FSUB", 0, 0, 6)
			g.exp(0)
			g.three("AND", 0, 0, 1)
			g.op("VST1.P [V0.S4], 16(R0)")
			g.quad("LDRQ", 8, 1, 0)
			g.three("FSUB", 8, 8, 7)
			g.three("FMUL", 8, 8, 0)
			g.three("AND", 8, 8, 1)
			g.op("VST1.P [V8.S4], 16(R1)")
		})
		g.op("ADD $4, R12")
		g.op("ADD $4, R13")
		g.op("ADD R15, R9, R9")
		g.op("ADD R15, R10, R10")
	})
	g.op("RET")
}
