// SPDX-License-Identifier: MIT

// Package walk traverses a problem for the engines. It enumerates the items to compute,
// divides them into tasks, and locates the channels of each item, and of the keys or queries
// that it meets, in the caller's tensors. It does no arithmetic on channels.
//
// An item is what one step computes: a query or, in an inverse walk, a key. A query meets the
// keys in its window; a key meets the queries whose windows contain it.
//
//	Line     one axis of a dilation group: its keys, its queries, and which meet
//	Pass     one computation: its kind, its items and the outputs that it produces
//	Walk     a pass over a problem of known size, divided into a grid of tasks
//	Run      the caller's tensors; a Stage is one walk in a run
//	Cursor   the position of one goroutine in a walk
package walk

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/scratch"
)

const (
	// LongestTile bounds the positions of a tile.
	LongestTile = 32
	// LargestGroup bounds the query heads that are processed together.
	LargestGroup = 32

	manyKeys = 64 // longest row of keys that LongRows calls short

	// TaskWork is the number of multiply-adds that justifies a separate task.
	TaskWork = 1 << 19
)

// Walk is a pass over a problem, with the sizes and the task grid chosen for it.
type Walk struct {
	Problem  *core.Problem
	Pass     Pass
	Products Products
	Group    int    // query heads per key head
	Member   int    // query heads whose items are computed together; 1 in an inverse walk
	Stacked  int    // inverse walk: query heads whose queries an item meets at once
	ByKey    bool   // items are queries, but are numbered by key position
	Tile     int    // items per tile along the fastest axis
	Extent   [3]int // items of the longest dilation group, per axis
	Met      [3]int // upper bound on the keys (or queries) that a dilation group's items meet, per axis
	Widest   [3]int // the most keys (or queries) that one item meets, per axis
	Grid
}

// New returns a walk with the sizes that follow from the problem. The engine chooses Tile and
// Grid.
func New(p *core.Problem, q Pass) *Walk {
	w := &Walk{Problem: p, Pass: q, Products: productsOf[q.Kind], Group: int(p.Group()), Member: 1, Stacked: int(p.Group())}
	if q.Kind.Inverse() && w.Apart() {
		w.Stacked = 1
	}
	for a := range 3 {
		w.Extent[a], w.Widest[a] = extents(&p.Axes[a], q, p.Ragged)
		w.Met[a] = mostKeys(&p.Axes[a], p.Ragged)
	}
	if q.Tokens {
		w.Extent[2] = int(p.Extra)
		w.Met[2] = int(p.Axes[2].Outputs())
	}
	if !q.Kind.Inverse() {
		w.Member = min(w.Group, LargestGroup)
	}
	return w
}

// Apart reports whether the query heads of a group are processed one at a time, each adding
// its gradients to those already stored. This requires tensors of the accumulator's type and
// channel counts that are multiples of 8. The reason is the cache: the data of one head fits
// in the core's cache, the data of all heads does not.
func (w *Walk) Apart() bool {
	p := w.Problem
	return !w.Pass.Tokens && p.DType.Accumulator() == p.DType && p.HeadDim%8 == 0 && p.ValueDim%8 == 0
}

// longestCounted is the largest kernel size for which the queries of each key are counted
// exactly. Larger kernels use the bound of mostQueries, which keeps planning fast.
const longestCounted = 512

// mostQueries bounds the number of queries that meet one key. The leaders of those queries lie
// within a span of two kernels (at the ends of the group it exceeds one kernel), and their
// stride groups extend it by up to one stride on either side.
func mostQueries(a *core.Axis, l *Line) int {
	return min(l.Queries, int((2*a.Kernel+2*a.Stride)/a.Period()+1))
}

// mostKeys is an upper bound on the keys of a dilation group that queries meet.
func mostKeys(a *core.Axis, ragged bool) int {
	keys := a.Keys()
	if a.Ranged() && !ragged {
		reach := a.RangeReach()
		keys = reach.End - reach.First
	}
	return int(kern.CeilDiv(keys, a.Dilation))
}

// extents returns the largest number of items of a dilation group along an axis, and an upper
// bound on the keys (or queries) that one of them meets.
func extents(a *core.Axis, q Pass, ragged bool) (items, met int) {
	queries := int((kern.CeilDiv(a.Queries(), a.Dilation)-1)/a.Period() + 1)
	switch {
	case q.Tokens:
		return 1, int(a.Outputs())
	case !q.Kind.Inverse():
		return queries, int(a.Kernel)
	}
	whole := *a
	whole.Range = core.Range{}
	l := NewLine(whole, 0)
	if a.Kernel > longestCounted {
		return mostKeys(a, ragged), min(mostQueries(a, &l), queries)
	}
	for n := range min(l.Keys, 4*int(a.Kernel)) {
		lo, hi := l.QueriesOf(n)
		met = max(met, hi-lo)
	}
	return mostKeys(a, ragged), min(met, queries)
}

// turns is how often each item is visited: once for every Stacked query heads of its group.
func (w *Walk) turns() int {
	if w.Pass.Kind.Inverse() {
		return w.Group / w.Stacked
	}
	return 1
}

// groupParts is the number of parts, of up to Member query heads, that a group is split into.
func (w *Walk) groupParts() int {
	if w.Pass.Kind.Inverse() {
		return 1
	}
	return kern.CeilDiv(w.Group, w.Member)
}

// bins reports whether the walk can accumulate d_rpb.
func (w *Walk) bins() bool {
	return w.Problem.RPB && (w.Pass.Kind == AttnQuery || w.Pass.Kind == QKQuery || w.Pass.Kind == AttnGradients)
}

// BinBytes is the size in bytes of the partial sums of d_rpb.
func (w *Walk) BinBytes() int {
	if !w.bins() {
		return 0
	}
	size := w.Parts * int(w.Problem.Heads) * BiasSize(w.Problem)
	if w.Problem.DType == core.Float64 {
		return scratch.Bytes[float64](size)
	}
	return scratch.Bytes[float32](size)
}

// MultiplyAdds is the number of multiply-adds in a forward pass.
func MultiplyAdds(p *core.Problem) float64 {
	return float64(p.Batch*p.Heads) * float64(p.Outputs()) * float64(p.Slots()) * float64(p.HeadDim+p.ValueDim)
}

// ChooseTile sets Tile so that tiles have at most the given number of positions and are as
// equal as possible.
func (w *Walk) ChooseTile(most int) {
	tiles := max(kern.CeilDiv(w.Extent[2], most), 1)
	w.Tile = max(kern.CeilDiv(w.Extent[2], tiles), 1)
}

// LongRows reports whether windows have rows of more than manyKeys keys, or have more than
// manyKeys keys and span the whole input. Package flash is made for such problems.
func LongRows(p *core.Problem) bool {
	whole := p.WindowSize() > manyKeys
	for a := range p.Axes {
		whole = whole && p.Axes[a].Kernel == p.Axes[a].Length
	}
	return whole || p.Axes[2].Kernel > manyKeys
}
