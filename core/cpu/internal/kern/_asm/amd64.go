// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"fmt"
	"log"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

// vector is the number of bytes of 8 float32 lanes.
const vector = 32

// amd64 writes functions for AVX2, FMA and F16C, or for AVX-512.
type amd64 struct {
	*build.Context
	labels           int
	negativeInfinity operand.Mem
	call             *layout                // layout of the function's argument struct, or nil
	locals           map[string]operand.Mem // its fields that were copied to the function's frame
	quads            quadWidth              // width of the kernels for quads being written
	typed            []string               // functions with argument structs, each with the struct's type
}

func writeAMD64() {
	g := &amd64{Context: build.NewContext()}
	g.scores()
	g.accumulate()
	g.transpose()
	e := g.newExponent()
	g.exponentials(&e)
	g.strips(&e)
	g.gradients()
	g.denseAVX2(&e)
	g.conversions()
	g.dot()
	g.prefetch()
	g.peak("AVX2", 8, g.YMM)
	g.blocksAVX2(&e)
	g.stencilsAVX2()
	g.write("kernels_amd64")
	g = &amd64{Context: build.NewContext()}
	g.blocks()
	g.stencils()
	g.write("kernels_avx512_amd64")
}

// write writes the functions and their prototypes.
func (g *amd64) write(name string) {
	file, err := g.Result()
	if err != nil {
		log.Fatal(err)
	}
	if err := pass.Compile.Execute(file); err != nil {
		log.Fatal(err)
	}
	cfg := printer.Config{Name: "core/cpu/internal/kern/_asm", Pkg: "kern"}
	text, err := printer.NewGoAsm(cfg).Print(file)
	if err != nil {
		log.Fatal(err)
	}
	write(name+".s", "!noasm", body(text))
	stubs, err := printer.NewStubs(cfg).Print(file)
	if err != nil {
		log.Fatal(err)
	}
	for i := 0; i < len(g.typed); i += 2 {
		prototype := "func " + g.typed[i] + "(call *"
		stubs = bytes.Replace(stubs, []byte(prototype+"byte"), []byte(prototype+g.typed[i+1]), 1)
	}
	write(name+".go", "!noasm", bytes.ReplaceAll(importing(body(stubs)), []byte("*byte"), []byte("unsafe.Pointer")))
}

// body drops the first line of avo's output, which write replaces.
func body(text []byte) []byte {
	_, rest, _ := bytes.Cut(text, []byte("\n"))
	return rest
}

// abiImport is the import of package abi.
const abiImport = "\"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi\"\n"

// importing adds the imports that the signatures need.
func importing(text []byte) []byte {
	return bytes.Replace(text, []byte("package kern\n"), []byte("package kern\n\nimport (\n\"unsafe\"\n\n"+abiImport+")\n"), 1)
}

func (g *amd64) function(name, signature string, doc ...string) {
	g.call = nil
	g.Function(name)
	g.Attributes(attr.NOSPLIT)
	g.SignatureExpr(strings.ReplaceAll(signature, "unsafe.Pointer", "*byte")) // avo does not support unsafe.Pointer
	g.Doc(doc...)
	g.Pragma("noescape")
}

// leave returns from the function. It clears the upper halves of the vector registers first, as
// they would slow down SSE instructions of the caller.
func (g *amd64) leave() {
	g.VZEROUPPER()
	g.RET()
}

// functionOf begins a function whose only argument is a struct; arg and parameter then refer to
// its fields.
func (g *amd64) functionOf(call *layout, name string, doc ...string) {
	g.function(name, "func(call unsafe.Pointer)", doc...)
	g.call, g.locals = call, map[string]operand.Mem{}
	g.typed = append(g.typed, name, "abi."+call.name)
}

// copyFields copies fields of the struct to the function's frame, where they take one load.
// Loops have no register to spare for the address of the struct.
func (g *amd64) copyFields(names ...string) {
	call := g.arg("call")
	for _, name := range names {
		r, local := g.GP64(), g.AllocLocal(8)
		g.MOVQ(mem(call, g.call.at(name)), r)
		g.MOVQ(r, local)
		g.locals[name] = local
	}
}

func (g *amd64) arg(name string) reg.GPVirtual {
	r := g.GP64()
	if local, ok := g.locals[name]; ok && g.call != nil {
		g.MOVQ(local, r)
		return r
	}
	if g.call == nil || name == "call" {
		g.Load(g.Param(name), r)
		return r
	}
	g.Load(g.Param("call"), r)
	g.MOVQ(mem(r, g.call.at(name)), r)
	return r
}

// parameter returns the memory operand of the argument with that name.
func (g *amd64) parameter(name string) operand.Mem {
	if local, ok := g.locals[name]; ok && g.call != nil {
		return local
	}
	at, err := g.Param(name).Resolve()
	if err != nil {
		log.Fatal(err)
	}
	return at.Addr
}

// label returns a name that is unique among the labels of the file.
func (g *amd64) label(name string) string {
	g.labels++
	return fmt.Sprintf("%s%d", name, g.labels)
}

// repeat runs a loop count times. The register must hold count > 0; it is decremented to 0.
func (g *amd64) repeat(count reg.Register, loop func()) {
	top := g.label("loop")
	g.Label(top)
	loop()
	g.DECQ(count)
	g.JNZ(operand.LabelRef(top))
}

// repeatIfAny is repeat for count >= 0.
func (g *amd64) repeatIfAny(count reg.Register, loop func()) {
	done := g.label("none")
	g.TESTQ(count, count)
	g.JZ(operand.LabelRef(done))
	g.repeat(count, loop)
	g.Label(done)
}

// registers allocates n registers.
func (g *amd64) registers(n int, register func() reg.VecVirtual) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = register()
	}
	return v
}

func (g *amd64) zero(v []reg.VecVirtual) {
	for _, r := range v {
		g.VXORPS(r, r, r)
	}
}

// multiples returns registers with those of step times 1, 3, 5, 7 and 9 that are needed to
// address rows 0 to n-1.
func (g *amd64) multiples(step reg.Register, n int) map[int]reg.Register {
	m := map[int]reg.Register{1: step}
	for i := 3; i < n; i += 2 {
		if i%2 == 1 {
			r := g.GP64()
			g.LEAQ(operand.Mem{Base: m[i-2], Index: step, Scale: 2}, r)
			m[i] = r
		}
	}
	return m
}

// at returns the memory operand base + n*step.
func at(base reg.Register, m map[int]reg.Register, n int) operand.Mem {
	if n == 0 {
		return operand.Mem{Base: base}
	}
	scale := 1
	for n%2 == 0 && scale < 8 {
		n, scale = n/2, scale*2
	}
	return operand.Mem{Base: base, Index: m[n], Scale: uint8(scale)}
}

func mem(base reg.Register, disp int) operand.Mem {
	return operand.Mem{Base: base, Disp: disp}
}

func sum(base, index reg.Register) operand.Mem {
	return operand.Mem{Base: base, Index: index, Scale: 1}
}
