// SPDX-License-Identifier: MIT

package main

import "fmt"

// In the dense kernels a vector is two registers: 8 lanes, as with AVX2.
const denseVectors = 2

// dense writes the kernels of package flash.
func (g *arm64) dense() {
	g.product()
	g.columns("max", "maxColumns", false, func() {
		g.numbers("Max", 8)
		g.eachRow(func() {
			g.load(0, 2, 3, "R6")
			g.both("FMAXNM", 8, 8, 0)
		})
		g.store(8, 2, 7, "")
	})
	g.columns("exp", "expColumns", true, func() {
		g.numbers("Offsets", 6)
		g.numbers("Sums", 8)
		g.eachRow(func() {
			g.load(0, 2, 3, "")
			g.both("FSUB", 0, 0, 6)
			g.exp(0)
			g.exp(1)
			g.both("FADD", 8, 8, 0)
			g.store(0, 2, 3, "R6")
		})
		g.store(8, 2, 7, "")
	})
	g.columns("expRows", "expRows", true, func() {
		g.rowNumbers("Offsets")
		g.eachRow(func() {
			g.broadcast(6, 7, 8)
			g.load(0, 2, 3, "")
			for v := range 2 {
				g.three("FSUB", v, v, 6)
				g.exp(v)
			}
			g.store(0, 2, 3, "R6")
		})
	})
	g.columns("gradients", "gradientColumns", false, func() {
		g.numbers("Deltas", 6)
		g.eachRow(func() { g.weigh(7) })
	})
	g.columns("gradientRows", "gradientRows", false, func() {
		g.rowNumbers("Deltas")
		g.eachRow(func() {
			g.broadcast(6, 7, 8)
			g.weigh(6)
		})
	})
}

// both writes an instruction for each of the two registers of a vector.
func (g *arm64) both(name string, d, n, m int) {
	g.three(name, d, n, m)
	g.three(name, d+1, n+1, m+1)
}

// weigh computes weights * (gradients - deltas), with deltas in V6 and a second register.
func (g *arm64) weigh(second int) {
	g.load(0, 2, 4, "")
	g.load(2, 2, 3, "R6")
	g.three("FSUB", 0, 0, 6)
	g.three("FSUB", 1, 1, second)
	g.both("FMUL", 0, 0, 2)
	g.store(0, 2, 4, "R6")
}

// columns writes a kernel that, for one vector of columns after another, loops over the rows.
// Registers:
// R1 vectors left, R2 bytes from the first vector, R3 weights, R4 gradients, R5 rows left,
// R6 bytes of a row; body may use R7 and up.
func (g *arm64) columns(name, twin string, exponent bool, body func()) {
	name += "NEON"
	g.functionOf(columnsCall, name, fmt.Sprintf(" is %s with 8 lanes.", twin))
	if exponent {
		g.loadExponent()
	}
	g.get("Vectors", 1)
	g.op("MOVD $0, R2")
	g.get("Row", 6)
	g.repeatIfAny(1, func() {
		g.get("Weights", 3)
		g.op("ADD R2, R3")
		g.get("Gradients", 4)
		g.op("ADD R2, R4")
		body()
		g.op("ADD $32, R2")
	})
	g.op("RET")
}

// numbers loads a field's numbers for the current columns, and leaves their address in R7.
func (g *arm64) numbers(field string, v int) {
	g.get(field, 7)
	g.op("ADD R2, R7")
	g.load(v, 2, 7, "")
}

// rowNumbers prepares R7 and R8 for broadcasts of a field's numbers per row.
func (g *arm64) rowNumbers(field string) {
	g.get(field, 7)
	g.op("MOVD $4, R8")
}

func (g *arm64) eachRow(f func()) {
	g.get("Rows", 5)
	g.repeatIfAny(5, f)
}

// product writes the kernel for matrix products. It has a loop over tiles of rows for each
// number of vectors. Registers: R1 A, R2 C, R3 rows left, R4 B, R5 depth left, R6 offset in
// bytes from the first factor of a row, R7 bytes from one factor to the next, R19, R20 and R21
// bytes per row of B, A and C, R8... the rows of A.
func (g *arm64) product() {
	g.functionOf(productCall, "productNEON", fmt.Sprintf(" is product with 8 lanes and up to %d vectors.", denseVectors))
	g.get("ADepth", 7)
	g.get("BDepth", 19)
	g.get("ARow", 20)
	g.get("CRow", 21)
	for vectors := denseVectors; vectors >= 1; vectors-- {
		next := g.label("fewer")
		if vectors > 1 {
			g.get("Vectors", 1)
			g.op("CMP $%d, R1", vectors)
			g.op("BNE %s", next)
		}
		g.get("A", 1)
		g.get("C", 2)
		g.get("Rows", 3)
		for _, rows := range []int{map[int]int{1: 8, 2: 6}[vectors], 2, 1} {
			top, done := g.label("rows"), g.label("done")
			g.at(top)
			g.op("CMP $%d, R3", rows)
			g.op("BLT %s", done)
			g.productTile(2*vectors, rows)
			g.op("SUB $%d, R3", rows)
			g.op("JMP %s", top)
			g.at(done)
		}
		g.op("RET")
		g.at(next)
	}
}

// productTile computes a tile of rows of n registers and advances R1 and R2 past it. Sums are
// in V0..., a row of B in V24..., factors in V28 to V31 in turn.
func (g *arm64) productTile(n, rows int) {
	fresh, ready := g.label("fresh"), g.label("ready")
	g.get("Add", 4)
	g.op("CBZ R4, %s", fresh)
	g.op("MOVD R2, R5")
	for m := range rows {
		g.load(m*n, n, 5, "R21")
	}
	g.op("JMP %s", ready)
	g.at(fresh)
	g.zero(0, rows*n)
	g.at(ready)
	for m := range rows {
		g.op("MOVD R1, R%d", 8+m)
		g.op("ADD R20, R1")
	}
	g.get("B", 4)
	g.get("Depth", 5)
	g.op("MOVD $0, R6")
	g.repeatIfAny(5, func() {
		g.load(24, n, 4, "R19")
		for m := range rows {
			factor := 28 + m%4
			g.indexed(factor, 8+m, 6)
			for i := range n {
				g.element(m*n+i, 24+i, factor, 0)
			}
		}
		g.op("ADD R7, R6")
	})
	for m := range rows {
		g.store(m*n, n, 2, "R21")
	}
}
