// SPDX-License-Identifier: MIT

package metal

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
)

// lanes holds the choices for a kernel of the "lanes" design.
type lanes struct {
	channels int64 // of a row per lane, at most, unless that would take more than a simdgroup's lanes
	reuse    int   // neighboring queries or keys that share loads: 1, 2 or 4
	block    int   // forward kernel and qk: keys between two updates, at most
	block16  int   // the same for 4 rows of 16-bit elements, which need half the registers; 0: block
	threads  int   // of a threadgroup
	aspect   int   // of a tile: length along axis 2 divided by length along other axes; 0: no tiles
}

// tuning holds the choices for one GPU generation.
type tuning struct {
	generation           int
	forward, query, keys lanes // fused kernels: attn_fwd, attn_bwd_q and attn_bwd_kv
	split                lanes // kernels of split operations
	// matrixSlots is the window size from which the "matrix" design pays off.
	// matrixDims is the largest head dimension whose panels fit the registers.
	matrixSlots, matrixDims int64
	// fill is the number of simdgroups that fill the GPU. Sums over queries use it.
	fill   int64
	strips bool // use attn_bwd_strip where it applies
}

// boxes are the shapes of 8 queries by rank. The closer a box is to a cube, the
// larger the share of the union of windows that each query sees.
var boxes = [...][3]int{1: {1, 1, 8}, 2: {1, 2, 4}, 3: {2, 2, 2}}

// tunings are ordered by generation. A GPU gets the last row that is not newer than
// it. The choices were the fastest on an H100 among the designs listed in
// tests/bench/NOTES.md; no Apple GPU has confirmed them. 8 channels and 4 rows per
// lane are the most that fit the registers (112 of 128 for queries and outputs in
// flight). Gradients of keys and values need twice as many registers per row and
// therefore use 2 rows. A tile four times as long as it is wide keeps a simdgroup's
// queries on two lines.
var tunings = []tuning{{
	generation:  0,
	forward:     lanes{channels: 8, reuse: 4, block: 2, block16: 4, threads: 128, aspect: 4},
	query:       lanes{channels: 8, reuse: 4, threads: 128, aspect: 4},
	keys:        lanes{channels: 8, reuse: 2, threads: 128, aspect: 4},
	split:       lanes{channels: 16, reuse: 2, block: 4, threads: 128},
	matrixSlots: 100, matrixDims: 128, fill: 1024, strips: true,
}}

// plainest is the design that uses the fewest registers.
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

// hasMatrix lists the kernels that have a "matrix" design.
var hasMatrix = map[string]bool{"attn_fwd": true, "attn_bwd_q": true, "attn_bwd_kv": true}

// matrix reports whether a problem runs in the "matrix" design.
func (t *tuning) matrix(p *core.Problem) bool {
	return everyQuery(p) && p.WindowSize() >= t.matrixSlots && max(p.HeadDim, p.ValueDim) <= t.matrixDims &&
		p.HeadDim%8 == 0 && p.ValueDim%8 == 0
}

// strip reports whether one launch computes all gradients of a problem. The problem
// must have one axis, windows that fit the memory for the weights, and windows that
// are short compared with the strip.
func (t *tuning) strip(p *core.Problem) bool {
	a, d := &p.Axes[2], t.design(p, "attn_bwd_strip")
	slots := int(a.Kernel)
	plain := p.Rank == 1 && a.QueryStep == 1 && a.Stride == 1 && p.Group() == 1 && p.Extra == 0 && !p.RPB && !p.Ranged()
	return t.strips && plain && max(p.HeadDim, p.ValueDim) <= int64(d.lanes)*t.query.channels &&
		stripFits(d.threads/d.lanes, slots)
}

// lanes returns the choices for a kernel in the "lanes" design.
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

// design chooses the template parameters of a kernel.
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

// share decides which neighbors share loads. If windows extend along axis 1, fused
// kernels take a square of rows, or two rows along axis 1. A simdgroup's lane groups,
// which are neighbors along axis 2, then walk the same lines of keys, and each line
// only as far as one row sees.
func (d *design) share(p *core.Problem, c *lanes) {
	if p.Axes[2].Kernel == 1 || !everyQuery(p) {
		return
	}
	d.reuse[1] = c.reuse
	if c.aspect == 0 {
		return // split operations have lane groups on one line
	}
	if p.Rank == 1 && d.lanes < 8 {
		d.reuse[1] = min(c.reuse, 2) // 64-byte rows: lane groups 4 rows apart read memory too far apart
	}
	d.lanes = max(d.lanes, d.reuse[1])
	if p.Axes[1].Kernel > 1 && c.reuse > 1 {
		d.reuse = [2]int{2, c.reuse / 2}
	}
}

// everyQuery reports whether every query is computed.
func everyQuery(p *core.Problem) bool {
	for i := range p.Axes {
		if p.Axes[i].QueryStep != 1 {
			return false
		}
	}
	return true
}

// evenly returns the size of the parts into which n is split: nearly equal, and none
// above largest.
func evenly(n, largest int64) int64 {
	parts := (n + largest - 1) / largest
	return (n + parts - 1) / parts
}

// splits returns the number of parts of a sum over queries: enough to fill the GPU,
// but with at least 8 rows for each lane group.
func (t *tuning) splits(g sumGrid, d design) int {
	fill := (t.fill + g.x*g.z - 1) / max(g.x*g.z, 1)
	rows := 8 * int64(simdWidth/d.lanes)
	return int(max(1, min(fill, g.rows/rows)))
}
