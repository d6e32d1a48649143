// SPDX-License-Identifier: MIT

package metal

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
)

// tuning is the row of choices for a GPU generation.
type tuning struct {
	generation int
	// channels that one lane holds of a row, at most, as far as a simdgroup has
	// lanes: registers of the forward and backward kernels grow with it.
	channels int64
	// reuse is the number of neighbouring queries or keys that share loads, and
	// reuseLarge that of the forward kernel for windows of largeSlots keys and more
	// in float32, whose loads would else take longer than the arithmetic.
	reuse, reuseLarge int
	largeSlots        int64
	// block is the largest number of keys between two updates of the softmax's
	// maximum.
	block int
	// halfChannels and halfBlock stand for channels and block in the forward kernel
	// of 16-bit types; 0: the same.
	halfChannels int64
	halfBlock    int
	// matrixSlots is the window size from which on the "matrix" design pays, and
	// matrixDims the largest head dimensions whose panels fit the registers.
	matrixSlots, matrixDims int64
	// fill is the number of simdgroups that fill the GPU, for sums over queries.
	fill int64
}

// boxes are the shapes of 8 queries by rank: the nearer to a cube, the more of the
// union of their windows each of them sees.
var boxes = [...][3]int{1: {1, 1, 8}, 2: {1, 2, 4}, 3: {2, 2, 2}}

// tunings are ordered by generation; a GPU gets the last row not newer than it.
// Of the designs that `./build.sh bench gpu` tries these came first on an H100, or
// within a tenth of the first (8 and 9 % behind for float32 windows of 7 and 27
// keys); no Apple GPU has confirmed them.
var tunings = []tuning{{
	generation: 0, channels: 16, reuse: 2, reuseLarge: 4, largeSlots: 49, block: 4, halfChannels: 32, halfBlock: 2,
	matrixSlots: 100, matrixDims: 128, fill: 1024,
}}

// plainest is the design with the fewest registers.
var plainest = tuning{channels: 4, reuse: 1, reuseLarge: 1, block: 1, matrixSlots: math.MaxInt64, fill: 1024}

func tuningFor(generation int) *tuning {
	row := &tunings[0]
	for i := range tunings {
		if tunings[i].generation <= generation {
			row = &tunings[i]
		}
	}
	return row
}

// hasMatrix are the kernels that there are in the "matrix" design.
var hasMatrix = map[string]bool{"attn_fwd": true, "attn_bwd_q": true, "attn_bwd_kv": true}

// matrix reports whether a problem runs in the "matrix" design.
func (t *tuning) matrix(p *core.Problem) bool {
	for i := range p.Axes {
		if p.Axes[i].QueryStep != 1 {
			return false
		}
	}
	return p.WindowSize() >= t.matrixSlots && max(p.HeadDim, p.ValueDim) <= t.matrixDims &&
		p.HeadDim%8 == 0 && p.ValueDim%8 == 0
}

// design chooses lanes, reuse and block of a kernel.
func (t *tuning) design(p *core.Problem, function string) design {
	if hasMatrix[function] && t.matrix(p) {
		return design{lanes: simdWidth, box: boxes[p.Rank]}
	}
	dim := p.HeadDim
	if p.Op.UsesValue() {
		dim = max(dim, p.ValueDim)
	}
	channels, block := t.channels, t.block
	if function == "attn_fwd" && p.DType.Size() == 2 && t.halfChannels > 0 {
		channels, block = t.halfChannels, t.halfBlock
	}
	d := design{lanes: 2, reuse: 1}
	for d.lanes < simdWidth && int64(d.lanes)*channels < dim {
		d.lanes *= 2
	}
	a := &p.Axes[2]
	if a.Kernel > 1 && a.QueryStep == 1 && dim <= int64(d.lanes)*channels {
		d.reuse = t.reuse
		if function == "attn_fwd" && p.DType == core.Float32 && p.WindowSize() >= t.largeSlots {
			d.reuse = t.reuseLarge
		}
	}
	d.block = evenBlock(a.Kernel+int64(d.reuse)-1, int64(block))
	return d
}

// evenBlock is the size of blocks into which a line of keys is cut: nearly the
// same for all, and none above largest.
func evenBlock(keys, largest int64) int {
	blocks := (keys + largest - 1) / largest
	return int((keys + blocks - 1) / blocks)
}

// splits is the number of parts of a sum over queries: enough to fill the GPU,
// but with 8 rows for each lane group.
func (t *tuning) splits(g sumGrid, d design) int {
	fill := (t.fill + g.x*g.z - 1) / max(g.x*g.z, 1)
	rows := 8 * int64(simdWidth/d.lanes)
	return int(max(1, min(fill, g.rows/rows)))
}
