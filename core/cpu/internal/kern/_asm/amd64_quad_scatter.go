// SPDX-License-Identifier: MIT

package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// scatterQuads writes the transpose of accumulateQuads, which adds items to lanes.
func (g *amd64) scatterQuads() {
	g.functionOf(block, "scatterQuads"+g.quads.isa, g.quads.doc("scatterQuads", "ScatterQuads")+".")
	g.eachQuad(metLanes{lane: g.scatterLane})
}

// scatterLane adds some items to one lane. The operands of their weights are in of.
func (g *amd64) scatterLane(n int, p reg.Register, of []operand.Mem, items []int, channels *[4][]reg.VecVirtual) {
	x := g.loadLane(n, p, of, items, func(q, i int, x, weight reg.VecVirtual) { g.VFMADD231PS(channels[q][i], weight, x) })
	for i := range n {
		g.VMOVUPS(x[i], mem(p, g.quads.bytes*i))
	}
}
