// SPDX-License-Identifier: MIT

package main

import (
	"math"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// constants is the first of the registers with the constants of exp, in the order of
// exponentConstants. The constant that rounds to an integer also adds the exponent bias.
const constants = 16

var exponentConstants = append([]float32{
	abi.Exp.Lowest, abi.Exp.Highest, abi.Exp.Log2E, abi.Exp.Magic + 127, abi.Exp.High, abi.Exp.Low,
}, abi.Exp.Terms[:len(abi.Exp.Terms)-1]...) // the last two are 1

func (g *arm64) loadExponent() {
	for i, v := range exponentConstants {
		g.constant(constants+i, math.Float32bits(v))
	}
	g.constant(30, math.Float32bits(float32(math.Inf(-1))))
}

// exp replaces the lanes of x by e**x; see exp32 of package kern. It uses V2 to V5 and V29.
func (g *arm64) exp(x int) {
	const small, n, k = 2, 3, 5
	g.three("FCMGT", small, constants, x) // less than the lowest
	g.three("FMIN", x, x, constants+1)
	g.three("ORR", n, constants+3, constants+3)
	g.three("FMLA", n, x, constants+2)
	g.three("FSUB", k, n, constants+3)
	g.three("FMLS", x, k, constants+4)
	g.three("FMLS", x, k, constants+5)
	// The polynomial in pairs of terms, each of which begins with a copy of its addend. V5 is x
	// squared.
	g.three("FMUL", k, x, x)
	p := constants + 6
	for i, term := range []int{7, 9, 11} {
		next := 4 + 25*(i%2) // V4 and V29 in turn
		g.three("ORR", next, constants+term, constants+term)
		g.three("FMLA", next, constants+term-1, x)
		if i > 0 {
			g.three("FMLA", next, p, k)
		}
		p = next
	}
	g.three("FADD", x, x, constants+12) // 1
	g.three("FMLA", x, p, k)
	g.two("SHL23", n, n)
	g.three("FMUL", x, x, n)
	g.three("BIC", x, x, small)
}

// eachHalf calls f for each half vector of 4 lanes of a row, with its mask in V1. R0 is the
// row and R1 the masks; R5 to R8 are used.
func (g *arm64) eachHalf(f func(), nextSlot func()) {
	g.arg("slots", 5)
	g.repeat(5, func() {
		g.arg("columns", 6)
		g.op("LSL $1, R6, R6")
		g.op("MOVD R1, R7")
		g.repeat(6, func() {
			g.op("VLD1.P 16(R7), [V1.S4]")
			f()
			g.op("ADD $16, R0")
		})
		if nextSlot != nil {
			nextSlot()
		}
	})
}

func (g *arm64) maximum() {
	g.quad("LDRQ", 0, 0, 0)
	g.three("BIF", 0, 30, 1)
	g.three("FMAX", 31, 31, 0)
}

func (g *arm64) exponential(offset func()) {
	g.quad("LDRQ", 0, 0, 0)
	offset()
	g.exp(0)
	g.three("AND", 0, 0, 1)
	g.three("FADD", 31, 31, 0)
	g.quad("STRQ", 0, 0, 0)
}

// rows writes the passes of the softmax over one row, and their gradients.
func (g *arm64) rows() {
	same := func(name string) string { return " is " + name + "AVX2; see the prototype for amd64." }
	byOffset := func() { g.three("FSUB", 0, 0, 6) }

	g.function("maxRowNEON", []string{"row", "masks"}, []string{"slots", "columns"}, true, same("maxRow"))
	g.arg("row", 0)
	g.arg("masks", 1)
	g.constant(30, math.Float32bits(float32(math.Inf(-1))))
	g.three("ORR", 31, 30, 30)
	g.eachHalf(g.maximum, nil)
	g.fold("FMAXP", 31)
	g.result(31)

	g.function("expRowNEON", []string{"row", "masks", "offset"}, []string{"slots", "columns"}, true,
		" is expRowAVX2 with the offset in memory; see the prototype for amd64.")
	g.arg("row", 0)
	g.arg("masks", 1)
	g.arg("offset", 2)
	g.single("LD1R", 6, 2)
	g.loadExponent()
	g.zero(31, 32)
	g.eachHalf(func() { g.exponential(byOffset) }, nil)
	g.fold("FADDP", 31)
	g.result(31)

	g.function("softmaxNEON", []string{"rows", "masks", "max", "sums"},
		[]string{"items", "slots", "columns", "rowStep", "maskStep"}, false, same("softmax"))
	g.arg("rows", 10)
	g.arg("masks", 1)
	g.arg("max", 2)
	g.arg("sums", 3)
	g.arg("items", 4)
	g.loadExponent()
	g.repeat(4, func() {
		g.op("MOVD R10, R0")
		g.three("ORR", 31, 30, 30)
		g.eachHalf(g.maximum, nil)
		g.fold("FMAXP", 31)
		g.single("STRS", 31, 2)
		g.two("DUP", 6, 31)
		g.three("FCMEQ", 7, 6, 30)
		g.three("BIC", 6, 6, 7)
		g.op("MOVD R10, R0")
		g.zero(31, 32)
		g.eachHalf(func() { g.exponential(byOffset) }, nil)
		g.fold("FADDP", 31)
		g.single("STRS", 31, 3)
		g.op("ADD $4, R2")
		g.op("ADD $4, R3")
		g.arg("rowStep", 5)
		g.op("ADD R5, R10, R10")
		g.arg("maskStep", 5)
		g.op("ADD R5, R1, R1")
	})
	g.op("RET")

	g.function("expLanesNEON", []string{"row", "masks", "offsets"}, []string{"slots", "columns", "offsetSkip"}, false, same("expLanes"))
	g.arg("row", 0)
	g.arg("masks", 1)
	g.arg("offsets", 2)
	g.arg("offsetSkip", 3)
	g.loadExponent()
	g.eachHalf(func() {
		g.exponential(func() {
			g.op("VLD1.P 16(R2), [V6.S4]")
			byOffset()
		})
	}, func() { g.op("ADD R3, R2, R2") })
	g.op("RET")
	g.gradients(same)
}

func (g *arm64) gradients(same func(string) string) {
	step := func() {
		g.op("VLD1.P 16(R1), [V0.S4]")
		g.three("FSUB", 0, 0, 6)
		g.quad("LDRQ", 1, 0, 0)
		g.three("FMUL", 0, 0, 1)
		g.op("VST1.P [V0.S4], 16(R0)")
	}
	g.function("gradientRowNEON", []string{"row", "gradient", "delta"}, []string{"vectors"}, false,
		" is gradientRowAVX2 with delta in memory; see the prototype for amd64.")
	g.arg("row", 0)
	g.arg("gradient", 1)
	g.arg("delta", 2)
	g.single("LD1R", 6, 2)
	g.arg("vectors", 2)
	g.op("LSL $1, R2, R2")
	g.repeat(2, step)
	g.op("RET")

	g.function("gradientLanesNEON", []string{"row", "gradient", "deltas"}, []string{"slots", "columns", "deltaSkip"}, false, same("gradientLanes"))
	g.arg("row", 0)
	g.arg("gradient", 1)
	g.arg("deltas", 2)
	g.arg("deltaSkip", 3)
	g.arg("slots", 4)
	g.repeat(4, func() {
		g.arg("columns", 5)
		g.op("LSL $1, R5, R5")
		g.repeat(5, func() {
			g.op("VLD1.P 16(R2), [V6.S4]")
			step()
		})
		g.op("ADD R3, R2, R2")
	})
	g.op("RET")
}

// conversions writes loads and stores of rows whose channels are a multiple of 8. They pass
// through V0 and V1; V2 holds the factor.
func (g *arm64) conversions() {
	load := func(p int) { g.op("VLD1.P 32(R%d), [V0.S4, V1.S4]", p) }
	times := func() {
		g.three("FMUL", 0, 0, 2)
		g.three("FMUL", 1, 1, 2)
	}
	store := func() { g.op("VST1.P [V0.S4, V1.S4], 32(R8)") }
	g.convert("loadFloat32", func() {
		load(9)
		times()
		store()
	})
	g.convert("loadFloat16", func() {
		g.op("VLD1.P 16(R9), [V3.H8]")
		g.two("FCVTL", 0, 3)
		g.two("FCVTL2", 1, 3)
		times()
		store()
	})
	g.convert("loadBFloat16", func() {
		g.op("VLD1.P 16(R9), [V3.H8]")
		g.two("SHLL", 0, 3)
		g.two("SHLL2", 1, 3)
		times()
		store()
	})
	g.convert("storeFloat16", func() {
		load(9)
		times()
		g.two("FCVTN", 3, 0)
		g.two("FCVTN2", 3, 1)
		g.op("VST1.P [V3.H8], 16(R8)")
	})
	g.convert("storeBFloat16", func() {
		load(9)
		times()
		for v := range 2 { // round to nearest even, but keep NaN
			g.three("FCMEQ", 4, v, v)
			g.two("USHR16", 5, v)
			g.three("AND", 5, 5, 17)
			g.three("ADD", 5, 5, 16)
			g.three("ADD", 5, 5, v)
			g.three("ORR", v, v, 18)
			g.three("BIT", v, 5, 4)
			g.two("USHR16", v, v)
		}
		g.two("XTN", 3, 0)
		g.two("XTN2", 3, 1)
		g.op("VST1.P [V3.H8], 16(R8)")
	})
}

func (g *arm64) convert(name string, f func()) {
	g.function(name+"NEON", []string{"dst", "src", "factors"}, []string{"rows", "blocks", "dstStep", "srcStep", "factorStep"}, false,
		" is "+name+"AVX2; see the prototype for amd64.")
	for i, a := range []string{"dst", "src", "factors", "rows", "dstStep", "srcStep", "factorStep"} {
		g.arg(a, i)
	}
	if name == "storeBFloat16" {
		g.constant(16, 0x7fff)
		g.constant(17, 1)
		g.constant(18, 0x400000)
	}
	g.repeat(3, func() {
		g.single("LD1R", 2, 2)
		g.op("ADD R6, R2, R2")
		g.op("MOVD R0, R8")
		g.op("MOVD R1, R9")
		g.arg("blocks", 7)
		g.repeat(7, f)
		g.op("ADD R4, R0, R0")
		g.op("ADD R5, R1, R1")
	})
	g.op("RET")
}
