// SPDX-License-Identifier: MIT

package metal

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
)

// lanes are the choices for a kernel of the "lanes" design.
type lanes struct {
	channels int64 // that one lane holds of a row, at most, as far as a simdgroup has lanes
	reuse    int   // neighboring queries or keys that share loads: 1, 2 or 4
	block    int   // of the forward kernel and qk: keys between two updates, at most
	block16  int   // the same for 4 rows of 16-bit elements, which wait in half the registers; 0: block
	threads  int   // of a threadgroup
	aspect   int   // of a tile: its length along axis 2 by that along others; 0: no tiles
}

// tuning is the row of choices for a GPU generation.
type tuning struct {
	generation           int
	forward, query, keys lanes // fused kernels: attn_fwd, attn_bwd_q and attn_bwd_kv
	split                lanes // the others
	// matrixSlots is the window size from which on the "matrix" design pays, and
	// matrixDims the largest head dimensions whose panels fit the registers.
	matrixSlots, matrixDims int64
	// fill is the number of simdgroups that fill the GPU, for sums over queries.
	fill   int64
	strips bool // attn_bwd_strip where it applies
}

// boxes are the shapes of 8 queries by rank: the nearer to a cube, the more of the
// union of their windows each of them sees.
var boxes = [...][3]int{1: {1, 1, 8}, 2: {1, 2, 4}, 3: {2, 2, 2}}

// tunings are ordered by generation; a GPU gets the last row not newer than it.
// The choices are those that came first on an H100 among the designs that
// tests/bench/NOTES.md lists; no Apple GPU has confirmed them. 8 channels and 4 rows per lane
// are the most whose registers fit (112 of 128 for queries and outputs in flight),
// the gradients of keys and values take twice as many and so 2 rows. A tile four
// times as long as wide keeps a simdgroup's queries on two lines.
var tunings = []tuning{{
	generation:  0,
	forward:     lanes{channels: 8, reuse: 4, block: 2, block16: 4, threads: 128, aspect: 4},
	query:       lanes{channels: 8, reuse: 4, threads: 128, aspect: 4},
	keys:        lanes{channels: 8, reuse: 2, threads: 128, aspect: 4},
	split:       lanes{channels: 16, reuse: 2, block: 4, threads: 128},
	matrixSlots: 100, matrixDims: 128, fill: 1024, strips: true,
}}

// plainest is the design with the fewest registers.
var plainest = tuning{
	forward: plain, query: plain, keys: plain, split: lanes{channels: 4, reuse: 1, block: 1, threads: 128},
	matrixSlots: math.MaxInt64, fill: 1024,
}

var plain = lanes{channels: 4, reuse: 1, block: 1, threads: 128, aspect: 1}

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
	return everyQuery(p) && p.WindowSize() >= t.matrixSlots && max(p.HeadDim, p.ValueDim) <= t.matrixDims &&
		p.HeadDim%8 == 0 && p.ValueDim%8 == 0
}

// strip reports whether all gradients of a problem come from one launch: of one
// axis, with windows that fit the weights' memory and are short beside the strip.
func (t *tuning) strip(p *core.Problem) bool {
	a, d := &p.Axes[2], t.design(p, "attn_bwd_strip")
	slots := int(a.Kernel)
	plain := p.Rank == 1 && a.QueryStep == 1 && a.Stride == 1 && p.Group() == 1 && p.Extra == 0 && !p.RPB && !p.Ranged()
	return t.strips && plain && max(p.HeadDim, p.ValueDim) <= int64(d.lanes)*t.query.channels &&
		stripFits(d.threads/d.lanes, slots)
}

// lanes are the choices for a kernel in the "lanes" design.
func (t *tuning) lanes(function string) *lanes {
	switch function {
	case "attn_fwd":
		return &t.forward
	case "attn_bwd_q", "attn_bwd_strip":
		return &t.query
	case "attn_bwd_kv":
		return &t.keys
	}
	return &t.split
}

// design chooses what a kernel's template takes.
func (t *tuning) design(p *core.Problem, function string) design {
	if hasMatrix[function] && t.matrix(p) {
		return design{lanes: simdWidth, box: boxes[p.Rank], threads: 128}
	}
	dim := p.HeadDim
	if p.Op.UsesValue() {
		dim = max(dim, p.ValueDim)
	}
	c := t.lanes(function)
	d := design{lanes: 2, reuse: [2]int{1, 1}, threads: c.threads, aspect: max(c.aspect, 1)}
	for d.lanes < simdWidth && int64(d.lanes)*c.channels < dim {
		d.lanes *= 2
	}
	if dim <= int64(d.lanes)*c.channels {
		d.share(p, c)
	}
	if function == "attn_bwd_strip" {
		d.lanes, d.reuse = max(d.lanes, stripRows), [2]int{1, stripRows}
	}
	block := c.block
	if c.block16 > 0 && p.DType.Size() == 2 && d.reuse[0]*d.reuse[1] == 4 {
		block = c.block16
	}
	d.block = int(evenly(p.Axes[2].Kernel+int64(d.reuse[1])-1, int64(max(block, 1))))
	return d
}

// share decides which neighbors share loads: if windows have two axes, fused
// kernels take a square of them, or two along axis 1, because a simdgroup's lane
// groups, which are neighbors along axis 2, then walk the same lines, and each
// line as far as one row sees.
func (d *design) share(p *core.Problem, c *lanes) {
	if p.Axes[2].Kernel == 1 || !everyQuery(p) {
		return
	}
	d.reuse[1] = c.reuse
	if c.aspect == 0 {
		return // a split operation, whose groups take one line
	}
	if p.Rank == 1 && d.lanes < 8 {
		d.reuse[1] = min(c.reuse, 2) // rows of 64 bytes, 4 apart, are too far from one another
	}
	d.lanes = max(d.lanes, d.reuse[1])
	if p.Axes[1].Kernel > 1 && c.reuse > 1 {
		d.reuse = [2]int{2, c.reuse / 2}
	}
}

// everyQuery reports whether no query is left out.
func everyQuery(p *core.Problem) bool {
	for i := range p.Axes {
		if p.Axes[i].QueryStep != 1 {
			return false
		}
	}
	return true
}

// evenly is the size of parts into which n are cut: nearly the same for all, and
// none above largest.
func evenly(n, largest int64) int64 {
	parts := (n + largest - 1) / largest
	return (n + parts - 1) / parts
}

// splits is the number of parts of a sum over queries: enough to fill the GPU,
// but with 8 rows for each lane group.
func (t *tuning) splits(g sumGrid, d design) int {
	fill := (t.fill + g.x*g.z - 1) / max(g.x*g.z, 1)
	rows := 8 * int64(simdWidth/d.lanes)
	return int(max(1, min(fill, g.rows/rows)))
}
