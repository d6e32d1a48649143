// SPDX-License-Identifier: MIT

package metal

import "github.com/natten-mps/natten-mps/core"

// tuning is the row of choices for a GPU generation.
type tuning struct {
	generation int
	// channels that one lane holds of a row, at most, as far as a simdgroup has
	// lanes: registers of the forward and backward kernels grow with it.
	channels int64
	// reuse is the number of neighbouring queries or keys that share loads.
	reuse int
	// block is the number of keys between two updates of the softmax's maximum.
	block int
	// fill is the number of simdgroups that fill the GPU, for sums over queries.
	fill int64
}

// tunings are ordered by generation; a GPU gets the last row not newer than it.
// 16 channels a lane are 64 bytes of f32 or 32 of f16, and leave 4 lanes to a
// 64-channel row, so that a dot product costs 2 shuffles.
var tunings = []tuning{
	{generation: 0, channels: 16, reuse: 2, block: 4, fill: 1024},
}

func tuningFor(generation int) *tuning {
	row := &tunings[0]
	for i := range tunings {
		if tunings[i].generation <= generation {
			row = &tunings[i]
		}
	}
	return row
}

// design chooses lanes, reuse and block of a kernel.
func (t *tuning) design(p *core.Problem, function string) design {
	dim := p.HeadDim
	if p.Op.UsesValue() {
		dim = max(dim, p.ValueDim)
	}
	d := design{lanes: 2, reuse: 1, block: t.block}
	for d.lanes < simdWidth && int64(d.lanes)*t.channels < dim {
		d.lanes *= 2
	}
	a := &p.Axes[2]
	shares := a.Kernel > 1 && a.QueryStep == 1
	if shares && dim <= int64(d.lanes)*t.channels {
		d.reuse = t.reuse
	}
	return d
}

// splits is the number of parts of a sum over queries: enough to fill the GPU,
// but with 8 rows for each lane group.
func (t *tuning) splits(g sumGrid, d design) int {
	fill := (t.fill + g.x*g.z - 1) / max(g.x*g.z, 1)
	rows := 8 * int64(simdWidth/d.lanes)
	return int(max(1, min(fill, g.rows/rows)))
}
