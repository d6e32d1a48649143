// SPDX-License-Identifier: MIT

package main

// stencils writes the kernels for small windows. A vector is four registers, 16 lanes as with
// AVX-512, so that both support the same numbers of channels.
func (g *arm64) stencils() {
	g.stencilKernel("stencilDots", g.stencilDots)
	g.stencilKernel("stencilSums", g.stencilSums)
}

// stencilKernel writes a function of an abi.Stencil: for each supported number of vectors a loop
// over items, with item as its body. Registers: R0 the call, R1 items left, R2 dst, R3 vectors,
// R4 first row of the item, R5 factors, R6 starts, R7 offsets, R8 keys left.
func (g *arm64) stencilKernel(name string, item func(registers int)) {
	g.functionOf(stencil, name+"NEON", " is "+name+" with 16 lanes and 1, 2, 4 or 8 vectors.")
	for i, parts := range stencilWidths {
		next := g.label("parts")
		if i < len(stencilWidths)-1 {
			g.get("Vectorful", 1)
			g.op("CMP $%d, R1", parts)
			g.op("BNE %s", next)
		}
		for r, field := range []string{"Items", "Dst", "Vectors"} {
			g.get(field, 1+r)
		}
		g.get("Factors", 5)
		g.get("Starts", 6)
		g.repeat(1, func() {
			g.get("Rows", 4)
			g.op("MOVD.P 8(R6), R9")
			g.op("ADD R9, R4, R4")
			g.get("Offsets", 7)
			g.get("Count", 8)
			item(4 * parts)
			for i, field := range []string{"DstStep", "VectorStep", "FactorStep"} {
				r := []int{2, 3, 5}[i]
				g.get(field, 9)
				g.op("ADD R9, R%d, R%d", r, r)
			}
		})
		g.op("RET")
		g.at(next)
	}
}

// stencilRows are the registers with the addresses of keys' rows.
var stencilRows = []int{12, 13, 14, 15, 16, 17, 19, 20} // R18 is reserved by the platform

// nextRows computes the addresses of the next n keys' rows.
func (g *arm64) nextRows(n int) {
	for _, r := range stencilRows[:n] {
		g.op("MOVD.P 8(R7), R%d", r)
		g.op("ADD R4, R%d, R%d", r, r)
	}
}

// stencilDots computes the dot products of an item with the keys of its window, 8 or 4 at a
// time: sums in V0..., the item in V16 and V17, rows in V18 to V25 in turn, the factor in V28.
func (g *arm64) stencilDots(registers int) {
	group := func(n int) {
		g.nextRows(n)
		for i := 0; i < registers; i += 2 {
			g.pair(16, 17, 3, i/2)
			for j, r := range stencilRows[:n] {
				v := 18 + j%4*2
				g.pair(v, v+1, r, i/2)
				if i == 0 {
					g.three("FMUL", j, v, 16)
				} else {
					g.three("FMLA", j, v, 16)
				}
				g.three("FMLA", j, v+1, 17)
			}
		}
		for j := 0; j < n; j += 4 {
			g.three("FADDP", 16, j, j+1)
			g.three("FADDP", 17, j+2, j+3)
			g.three("FADDP", 16, 16, 17)
			g.three("FMUL", 16, 16, 28)
			g.store(16, 1, 10, "16")
		}
	}
	g.single("LD1R", 28, 5)
	g.op("MOVD R2, R10")
	whole, done := g.label("whole"), g.label("done")
	g.at(whole)
	g.op("SUBS $8, R8")
	g.op("BLT %s", done)
	group(8)
	g.op("JMP %s", whole)
	g.at(done)
	g.op("ADD $8, R8")
	g.ifAny(8, func() { group(4) })
}

// stencilSums computes the weighted sum of the rows of an item's window, up to 16 registers of
// channels at a time: sums in V0..., rows in V16 to V23 in turn, weights in V24.
func (g *arm64) stencilSums(registers int) {
	for first := 0; first < registers; first += 16 {
		n := min(registers-first, 16)
		g.op("MOVD R3, R11")
		if first > 0 {
			g.get("Offsets", 7)
			g.get("Count", 8)
		}
		g.zero(0, n)
		key := func(r, lane int) {
			for i := 0; i < n; i += 2 {
				v := 16 + i%8
				g.pair(v, v+1, r, (first+i)/2)
				g.element(i, v, 24, lane)
				g.element(i+1, v+1, 24, lane)
			}
		}
		whole, done := g.label("whole"), g.label("done")
		g.at(whole)
		g.op("SUBS $4, R8")
		g.op("BLT %s", done)
		g.nextRows(4)
		g.load(24, 1, 11, "16")
		for lane, r := range stencilRows[:4] {
			key(r, lane)
		}
		g.op("JMP %s", whole)
		g.at(done)
		g.op("ADD $4, R8")
		g.repeatIfAny(8, func() {
			g.nextRows(1)
			g.single("LDRS", 24, 11)
			g.op("ADD $4, R11")
			key(stencilRows[0], 0)
		})
		g.single("LD1R", 28, 5)
		g.op("ADD $%d, R2, R10", 16*first)
		for i := 0; i < n; i += 4 {
			for v := i; v < i+4; v++ {
				g.three("FMUL", v, v, 28)
			}
			g.store(i, 4, 10, "64")
		}
	}
}
