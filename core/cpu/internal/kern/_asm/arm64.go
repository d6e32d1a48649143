// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"strings"
)

// encodings has the vector instructions that Go's assembler lacks or spells
// differently, with zeros for registers and immediates. They have 4 lanes of 32 bits
// unless noted otherwise. arm64_test.go compares them with LLVM's disassembler.
var encodings = map[string]uint32{
	"FADD": 0x4e20d400, "FSUB": 0x4ea0d400, "FMUL": 0x6e20dc00, "FMLA": 0x4e20cc00, "FMLS": 0x4ea0cc00,
	"FMAX": 0x4e20f400, "FMIN": 0x4ea0f400, "FMAXNM": 0x4e20c400, "FCMEQ": 0x4e20e400, "FCMGT": 0x6ea0e400,
	"CMTST": 0x4ea08c00,
	"ADD":   0x4ea08400, "AND": 0x4e201c00, "BIC": 0x4e601c00, "ORR": 0x4ea01c00, "EOR": 0x6e201c00,
	"BIT": 0x6ea01c00, "BIF": 0x6ee01c00,
	"FADDP": 0x6e20d400, "FMAXP": 0x6e20f400, "FMAXNMP": 0x6e20c400,
	"ZIP1": 0x4e803800, "ZIP2": 0x4e807800,
	// two registers
	"DUP":   0x4e040400, // of lane 0
	"FCVTL": 0x0e217800, "FCVTL2": 0x4e217800, "FCVTN": 0x0e216800, "FCVTN2": 0x4e216800,
	"SHLL": 0x2e613800, "SHLL2": 0x6e613800, // 16 bits to the upper half of 32
	"XTN": 0x0e612800, "XTN2": 0x4e612800, // 32 bits to 16
	"SHL23": 0x4f375400, "USHR16": 0x6f300400,
	// loads and stores
	"LDRQ": 0x3dc00000, "STRQ": 0x3d800000, "LDRS": 0xbd400000, "STRS": 0xbd000000, "LD1R": 0x4d40c800,
	"LDPQ":     0xad400000,
	"LDRSR":    0xbc606800, // of 4 bytes, at the sum of two registers
	"LD1RP":    0x4dc0c800, // a register goes to the address
	"FMLAELEM": 0x4f801000, // times one lane of the second factor
}

// arm64 writes functions for NEON.
type arm64 struct {
	text, stubs strings.Builder
	arguments   map[string]int
	call        *layout // layout of the argument struct, whose address is in R0, or nil
	labels      int
}

func writeARM64() {
	g := &arm64{}
	g.text.WriteString("#include \"textflag.h\"\n")
	g.stubs.WriteString("package kern\n\nimport (\n\"unsafe\"\n\n" + abiImport + ")\n")
	g.scoreRows()
	g.accumulate()
	g.transpose()
	g.rows()
	g.conversions()
	g.strips()
	g.dot()
	g.peak()
	g.dense()
	g.blocks()
	g.stencils()
	write("kernels_arm64.s", "!noasm", []byte(g.text.String()))
	write("kernels_arm64.go", "!noasm", []byte(g.stubs.String()))
}

func (g *arm64) op(format string, args ...any) { fmt.Fprintf(&g.text, "\t"+format+"\n", args...) }

func (g *arm64) word(code uint32, comment string) { g.op("WORD $0x%08x // %s", code, comment) }

// function begins a function. All arguments must be 8 bytes long.
func (g *arm64) function(name string, pointers, numbers []string, result bool, doc string) {
	g.arguments = map[string]int{}
	for i, a := range append(append([]string{}, pointers...), numbers...) {
		g.arguments[a] = 8 * i
	}
	size := 8 * len(g.arguments)
	signature := strings.Join(pointers, ", ") + " unsafe.Pointer"
	if len(numbers) > 0 {
		signature += ", " + strings.Join(numbers, ", ") + " int"
	}
	if len(pointers) == 0 {
		signature = strings.Join(numbers, ", ") + " int"
	}
	returns := ""
	if result {
		returns, size = " float32", size+4
	}
	g.begin(name, signature, returns, doc, size)
}

// functionOf begins a function whose only argument is the address of a struct, and loads it into
// R0.
func (g *arm64) functionOf(call *layout, name, doc string) {
	g.call, g.arguments = call, map[string]int{"call": 0}
	g.begin(name, "call *abi."+call.name, "", doc, 8)
	g.arg("call", 0)
}

func (g *arm64) begin(name, signature, returns, doc string, size int) {
	fmt.Fprintf(&g.stubs, "\n// %s%s\n//\n//go:noescape\nfunc %s(%s)%s\n", name, doc, name, signature, returns)
	fmt.Fprintf(&g.text, "\n// func %s(%s)%s\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", name, signature, returns, name, size)
}

// arg loads an argument into a general register.
func (g *arm64) arg(name string, r int) { g.op("MOVD %s+%d(FP), R%d", name, g.arguments[name], r) }

// get loads a field of the function's struct into a general register.
func (g *arm64) get(field string, r int) { g.op("MOVD %d(R0), R%d", g.call.at(field), r) }

func (g *arm64) label(name string) string {
	g.labels++
	return fmt.Sprintf("%s%d", name, g.labels)
}

func (g *arm64) at(label string) { fmt.Fprintf(&g.text, "%s:\n", label) }

// repeat runs a loop as often as a register says, which must be at least 1.
func (g *arm64) repeat(r int, loop func()) {
	top := g.label("loop")
	g.at(top)
	loop()
	g.op("SUBS $1, R%d, R%d", r, r)
	g.op("BNE %s", top)
}

func (g *arm64) repeatIfAny(r int, loop func()) {
	done := g.label("none")
	g.op("CBZ R%d, %s", r, done)
	g.repeat(r, loop)
	g.at(done)
}

// ifAny runs f unless a register is 0.
func (g *arm64) ifAny(r int, f func()) {
	done := g.label("none")
	g.op("CBZ R%d, %s", r, done)
	f()
	g.at(done)
}

// three is an instruction d = n op m of vector registers.
func (g *arm64) three(name string, d, n, m int) {
	g.word(encodings[name]|uint32(m)<<16|uint32(n)<<5|uint32(d), fmt.Sprintf("%s V%d, V%d, V%d", name, d, n, m))
}

func (g *arm64) two(name string, d, n int) {
	g.word(encodings[name]|uint32(n)<<5|uint32(d), fmt.Sprintf("%s V%d, V%d", name, d, n))
}

// element is d += n * (one lane of m).
func (g *arm64) element(d, n, m, lane int) {
	code := encodings["FMLAELEM"] | uint32(lane&1)<<21 | uint32(lane>>1)<<11 | uint32(m)<<16 | uint32(n)<<5 | uint32(d)
	g.word(code, fmt.Sprintf("FMLA V%d, V%d, V%d[%d]", d, n, m, lane))
}

// quad loads or stores 16 bytes at base + 16*n.
func (g *arm64) quad(name string, v, base, n int) {
	g.word(encodings[name]|uint32(n)<<10|uint32(base)<<5|uint32(v), fmt.Sprintf("%s V%d, %d(R%d)", name, v, 16*n, base))
}

// pair loads 32 bytes at base + 32*n.
func (g *arm64) pair(v, w, base, n int) {
	g.word(encodings["LDPQ"]|uint32(2*n)<<15|uint32(w)<<10|uint32(base)<<5|uint32(v), fmt.Sprintf("LDP V%d, V%d, %d(R%d)", v, w, 32*n, base))
}

// single loads or stores 4 bytes at a register.
func (g *arm64) single(name string, v, base int) {
	g.word(encodings[name]|uint32(base)<<5|uint32(v), fmt.Sprintf("%s V%d, (R%d)", name, v, base))
}

// broadcast loads the 4 bytes at base into all lanes and adds step to base.
func (g *arm64) broadcast(v, base, step int) {
	g.word(encodings["LD1RP"]|uint32(step)<<16|uint32(base)<<5|uint32(v), fmt.Sprintf("LD1R V%d, (R%d)(R%d)", v, base, step))
}

// indexed loads 4 bytes at the sum of two registers.
func (g *arm64) indexed(v, base, index int) {
	g.word(encodings["LDRSR"]|uint32(index)<<16|uint32(base)<<5|uint32(v), fmt.Sprintf("LDR S%d, (R%d)(R%d)", v, base, index))
}

// list names n consecutive vector registers, for instructions that load or store all of them.
func list(v, n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("V%d.S4", v+i)
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// load and store move n vector registers; step names what is added to the address: a
// register, a number of bytes, or nothing.
func (g *arm64) load(v, n, base int, step string) {
	if step == "" {
		g.op("VLD1 (R%d), %s", base, list(v, n))
		return
	}
	g.op("VLD1.P %s, %s", after(base, step), list(v, n))
}

func (g *arm64) store(v, n, base int, step string) {
	if step == "" {
		g.op("VST1 %s, (R%d)", list(v, n), base)
		return
	}
	g.op("VST1.P %s, %s", list(v, n), after(base, step))
}

func after(base int, step string) string {
	if step[0] == 'R' {
		return fmt.Sprintf("(R%d)(%s)", base, step)
	}
	return fmt.Sprintf("%s(R%d)", step, base)
}

func (g *arm64) zero(from, to int) {
	for v := from; v < to; v++ {
		g.three("EOR", v, v, v)
	}
}

// constant puts 32 bits, such as those of a float32, in all lanes.
func (g *arm64) constant(v int, bits uint32) {
	g.op("MOVD $0x%x, R26", bits)
	g.op("VDUP R26, V%d.S4", v)
}

// fold reduces the 4 lanes of v into its first lane with a pairwise instruction.
func (g *arm64) fold(name string, v int) {
	g.three(name, v, v, v)
	g.three(name, v, v, v)
}

// result returns the first lane of v.
func (g *arm64) result(v int) {
	g.op("FMOVS F%d, ret+%d(FP)", v, 8*len(g.arguments))
	g.op("RET")
}
