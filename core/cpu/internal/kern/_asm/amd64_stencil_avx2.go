// SPDX-License-Identifier: MIT

package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// stencilsAVX2 writes the kernels for small windows for AVX2. A vector is two registers, 16
// lanes as with AVX-512, so that both support the same numbers of channels.
func (g *amd64) stencilsAVX2() {
	g.stencilKernel("stencilDotsAVX2", nil, g.stencilDotsAVX2)
	g.stencilKernel("stencilSumsAVX2", nil, g.stencilSumsAVX2)
}

// mostKept is the number of registers that keep an item's channels from key to key.
const mostKept = 8

// stencilDotsAVX2 computes the dot products of an item with the keys of its window, 4 at a time.
func (g *amd64) stencilDotsAVX2(parts int, w *stencilItem) {
	registers := 2 * parts
	var kept []reg.VecVirtual
	if registers <= mostKept {
		kept = g.registers(registers, g.YMM)
		for i, q := range kept {
			g.VMOVUPS(mem(w.vectors, vector*i), q)
		}
	}
	offsets, left, dst := g.field(w.call, stencil.at("Offsets")), g.field(w.call, stencil.at("Count")), g.copied(w.dst)
	g.SHRQ(operand.U8(2), left)
	g.repeat(left, func() {
		sums := g.registers(4, g.YMM)
		for j, s := range sums {
			offset := g.GP64()
			g.MOVQ(mem(offsets, 8*j), offset)
			for i := range registers {
				from := sum(w.rows, offset)
				from.Disp = vector * i
				q := g.YMM()
				if kept != nil {
					q = kept[i]
				} else {
					g.VMOVUPS(mem(w.vectors, vector*i), q)
				}
				if i == 0 {
					g.VMULPS(from, q, s)
				} else {
					g.VFMADD231PS(from, q, s)
				}
			}
		}
		out, factor := g.lanesOf(sums), g.YMM()
		g.VBROADCASTSS(mem(w.factors, 0), factor)
		g.VMULPS(factor.AsX(), out.AsX(), out.AsX())
		g.VMOVUPS(out.AsX(), mem(dst, 0))
		g.ADDQ(operand.U8(4*8), offsets)
		g.ADDQ(operand.U8(16), dst)
	})
}

// stencilSumsAVX2 computes the weighted sum of the rows of an item's window, up to 8 registers
// of channels at a time.
func (g *amd64) stencilSumsAVX2(parts int, w *stencilItem) {
	for first := 0; first < 2*parts; first += mostKept {
		sums := g.registers(min(2*parts-first, mostKept), g.YMM)
		g.zero(sums)
		offsets, weights := g.field(w.call, stencil.at("Offsets")), g.copied(w.vectors)
		g.repeat(g.field(w.call, stencil.at("Count")), func() {
			offset, weight := g.GP64(), g.YMM()
			g.MOVQ(mem(offsets, 0), offset)
			g.VBROADCASTSS(mem(weights, 0), weight)
			for i, s := range sums {
				from := sum(w.rows, offset)
				from.Disp = vector * (first + i)
				g.VFMADD231PS(from, weight, s)
			}
			g.ADDQ(operand.U8(8), offsets)
			g.ADDQ(operand.U8(4), weights)
		})
		factor := g.YMM()
		g.VBROADCASTSS(mem(w.factors, 0), factor)
		for i, s := range sums {
			g.VMULPS(factor, s, s)
			g.VMOVUPS(s, mem(w.dst, vector*(first+i)))
		}
	}
}
