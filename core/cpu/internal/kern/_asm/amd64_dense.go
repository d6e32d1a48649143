// SPDX-License-Identifier: MIT

package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dense has the parameters of the dense kernels of an instruction set.
type dense struct {
	suffix      string
	bytes       int // per vector
	mostVectors int
	sums        int // registers for sums
	register    func() reg.VecVirtual
	exp         func(x reg.VecVirtual) // replaces x by e**x
}

// denses writes the dense kernels of one instruction set. constants is called at the beginning of
// kernels that compute exponentials.
func (g *amd64) denses(d *dense, constants func()) {
	g.product(d)
	g.columns(d, "max", "maxColumns", nil, func(w *column) {
		w.eachRow(func(at, _ operand.Mem, state []reg.VecVirtual) {
			g.VMAXPS(state[0], w.load(at), state[0])
		}, "Max")
	})
	g.columns(d, "exp", "expColumns", constants, func(w *column) {
		offset := d.register()
		g.VMOVUPS(w.numbers("Offsets"), offset)
		w.eachRow(func(at, _ operand.Mem, state []reg.VecVirtual) {
			x := w.load(at)
			g.VSUBPS(offset, x, x)
			d.exp(x)
			g.VMOVUPS(x, at)
			g.VADDPS(x, state[0], state[0])
		}, "Sums")
	})
	g.columns(d, "expRows", "expRows", constants, func(w *column) {
		offsets := g.arg("Offsets")
		w.eachRow(func(at, _ operand.Mem, _ []reg.VecVirtual) {
			x, offset := w.load(at), d.register()
			g.VBROADCASTSS(mem(offsets, 0), offset)
			g.ADDQ(operand.U8(4), offsets)
			g.VSUBPS(offset, x, x)
			d.exp(x)
			g.VMOVUPS(x, at)
		})
	})
	g.columns(d, "gradients", "gradientColumns", nil, func(w *column) {
		delta := d.register()
		g.VMOVUPS(w.numbers("Deltas"), delta)
		w.eachRow(func(at, by operand.Mem, _ []reg.VecVirtual) {
			y := w.load(by)
			g.VSUBPS(delta, y, y)
			g.VMULPS(at, y, y)
			g.VMOVUPS(y, by)
		})
	})
	g.columns(d, "gradientRows", "gradientRows", nil, func(w *column) {
		deltas := g.arg("Deltas")
		w.eachRow(func(at, by operand.Mem, _ []reg.VecVirtual) {
			y, delta := w.load(by), d.register()
			g.VBROADCASTSS(mem(deltas, 0), delta)
			g.ADDQ(operand.U8(4), deltas)
			g.VSUBPS(delta, y, y)
			g.VMULPS(at, y, y)
			g.VMOVUPS(y, by)
		})
	})
}

// product writes the kernel for matrix products. It has a loop over tiles of rows for each
// number of vectors.
func (g *amd64) product(d *dense) {
	name := "product" + d.suffix
	g.functionOf(productCall, name, fmt.Sprintf("%s is product with %d lanes and up to %d vectors.", name, d.bytes/4, d.mostVectors))
	for vectors := d.mostVectors; vectors >= 1; vectors-- {
		next := g.label("fewer")
		if vectors > 1 {
			g.CMPQ(g.arg("Vectors"), operand.U8(vectors))
			g.JNE(operand.LabelRef(next))
		}
		a, c, rows := g.arg("A"), g.arg("C"), g.arg("Rows")
		for _, tile := range []int{min(d.sums/vectors, 8), 2, 1} {
			top, done := g.label("rows"), g.label("done")
			g.Label(top)
			g.CMPQ(rows, operand.U8(tile))
			g.JLT(operand.LabelRef(done))
			g.productTile(d, vectors, tile, a, c)
			g.SUBQ(operand.U8(tile), rows)
			g.JMP(operand.LabelRef(top))
			g.Label(done)
		}
		g.leave()
		g.Label(next)
	}
}

// productTile computes a tile of rows and advances a and c past it.
func (g *amd64) productTile(d *dense, vectors, rows int, a, c reg.Register) {
	sums := g.registers(vectors*rows, d.register)
	step, fresh, ready := g.multiples(g.arg("CRow"), rows), g.label("fresh"), g.label("ready")
	add := g.arg("Add")
	g.TESTQ(add, add)
	g.JZ(operand.LabelRef(fresh))
	for m := range rows {
		for n := range vectors {
			from := at(c, step, m)
			from.Disp = d.bytes * n
			g.VMOVUPS(from, sums[m*vectors+n])
		}
	}
	g.JMP(operand.LabelRef(ready))
	g.Label(fresh)
	g.zero(sums)
	g.Label(ready)
	p, b, depth, aDepth, bDepth := g.copied(a), g.arg("B"), g.arg("Depth"), g.arg("ADepth"), g.arg("BDepth")
	aStep := g.multiples(g.arg("ARow"), rows)
	g.repeatIfAny(depth, func() {
		v := g.registers(vectors, d.register)
		for n := range vectors {
			g.VMOVUPS(mem(b, d.bytes*n), v[n])
		}
		for m := range rows {
			factor := d.register()
			g.VBROADCASTSS(at(p, aStep, m), factor)
			for n := range vectors {
				g.VFMADD231PS(v[n], factor, sums[m*vectors+n])
			}
		}
		g.ADDQ(aDepth, p)
		g.ADDQ(bDepth, b)
	})
	step = g.multiples(g.arg("CRow"), rows)
	for m := range rows {
		for n := range vectors {
			to := at(c, step, m)
			to.Disp = d.bytes * n
			g.VMOVUPS(sums[m*vectors+n], to)
		}
	}
	for _, x := range []struct {
		p    reg.Register
		step string
	}{{a, "ARow"}, {c, "CRow"}} {
		by := g.arg(x.step)
		g.IMUL3Q(operand.U8(rows), by, by)
		g.ADDQ(by, x.p)
	}
}

// column is the registers of a loop over the vectors of a row.
type column struct {
	g                  *amd64
	d                  *dense
	weights, gradients reg.Register
	at                 reg.Register // bytes from the first vector
}

// columns writes a kernel that, for one vector of columns after another, loops over the rows.
func (g *amd64) columns(d *dense, name, twin string, constants func(), body func(w *column)) {
	name += d.suffix
	g.functionOf(columnsCall, name, fmt.Sprintf("%s is %s with %d lanes.", name, twin, d.bytes/4))
	if constants != nil {
		constants()
	}
	w := &column{g: g, d: d, at: g.GP64()}
	g.XORQ(w.at, w.at)
	g.repeatIfAny(g.arg("Vectors"), func() {
		w.weights, w.gradients = g.arg("Weights"), g.arg("Gradients")
		g.ADDQ(w.at, w.weights)
		g.ADDQ(w.at, w.gradients)
		body(w)
		g.ADDQ(operand.U8(d.bytes), w.at)
	})
	g.leave()
}

// numbers returns the operand of a field's numbers for the current columns.
func (w *column) numbers(field string) operand.Mem { return sum(w.g.arg(field), w.at) }

func (w *column) load(from operand.Mem) reg.VecVirtual {
	x := w.d.register()
	w.g.VMOVUPS(from, x)
	return x
}

// eachRow loops over the rows, with the current vectors of the fields in registers.
func (w *column) eachRow(f func(at, by operand.Mem, state []reg.VecVirtual), fields ...string) {
	g := w.g
	state := g.registers(len(fields), w.d.register)
	for i, field := range fields {
		g.VMOVUPS(w.numbers(field), state[i])
	}
	step := g.arg("Row")
	g.repeatIfAny(g.arg("Rows"), func() {
		f(mem(w.weights, 0), mem(w.gradients, 0), state)
		g.ADDQ(step, w.weights)
		g.ADDQ(step, w.gradients)
	})
	for i, field := range fields {
		g.VMOVUPS(state[i], w.numbers(field))
	}
}

func (g *amd64) denseAVX2(e *exponent) {
	g.denses(&dense{
		suffix: "AVX2", bytes: vector, mostVectors: 2, sums: 12, register: g.YMM,
		exp: func(x reg.VecVirtual) { g.exp(e, x) },
	}, nil)
}

func (g *amd64) denseAVX512(e *exponent) {
	var constants wideExponent
	var all reg.Register
	g.denses(&dense{
		suffix: "AVX512", bytes: wide, mostVectors: 4, sums: 24, register: g.ZMM,
		exp: func(x reg.VecVirtual) { g.wideExp(&constants, x, all) },
	}, func() {
		constants = g.newWideExponent(e)
		bits, k := g.GP32(), g.K()
		g.MOVL(operand.U32(0xffff), bits)
		g.KMOVW(bits, k)
		all = k
	})
}
