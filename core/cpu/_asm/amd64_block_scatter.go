// SPDX-License-Identifier: MIT

package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// scatterBlocks writes the second primitive the other way round: what lanes get from items.
func (g *amd64) scatterBlocks() {
	g.function("scatterBlocksAVX512",
		"func(items, weights, panel, blocks, rows, ahead unsafe.Pointer, count, channels, upper, both, lower, lane, column, weightItem, item, row, streams int)",
		"scatterBlocksAVX512 is accumulateBlocksAVX512 the other way round: it adds the items to the",
		"lanes of the panel that they meet.",
		"",
		"\tfor i, b := range blocks[:count] { for q := range 4 { for each row r and lane l that item q meets { for c := range channels {",
		"\t\tpanel[b.rows+r.panel+l*lane+c] +=",
		"\t\t\tweights[(4*i+q)*weightItem+r.weights+l*column] * items[(2*i+q%2)*item+q/2*row+c] } } } }",
		"",
		"and asks, before every block, for two rows of each of the streams of ahead.")
	g.eachBlock(metLanes{items: "items", lane: g.scatterLane})
}

// scatterLane adds some items, whose weights are at of, to one lane.
func (g *amd64) scatterLane(n int, p reg.Register, of []operand.Mem, items []int, channels *[4][]reg.VecVirtual) {
	x := g.loadLane(n, p, of, items, func(q, i int, x, weight reg.VecVirtual) { g.VFMADD231PS(channels[q][i], weight, x) })
	for i := range n {
		g.VMOVUPS(x[i], mem(p, wide*i))
	}
}
