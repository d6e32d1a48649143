// SPDX-License-Identifier: MIT

// Package walk is how the engines go through a problem: which items there are, where
// their rows of channels are in the caller's tensors, what they meet, and in which tasks
// they are taken. It has no arithmetic on channels.
//
//	Line     an axis of a dilation group: its keys and queries, and which meet
//	Pass     what is computed: its items, its products, the outputs that it gives
//	Walk     a pass over a problem with its sizes, cut into a grid of tasks
//	Run      the caller's tensors; Stage is a walk in a run
//	Cursor   where one goroutine is in a walk
package walk

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/scratch"
)

const (
	// LongestTile bounds the positions of a tile.
	LongestTile = 32
	// LargestGroup bounds the query heads that are treated together.
	LargestGroup = 32

	manyKeys = 64 // of LongRows

	// TaskWork is the multiply-adds that are worth a task of their own.
	TaskWork = 1 << 19
)

// Walk is a pass over a problem with its sizes.
type Walk struct {
	Problem  *core.Problem
	Pass     Pass
	Products Products
	Group    int    // query heads of a key head
	Member   int    // query heads that are items together; 1 in the inverse walk
	Stacked  int    // query heads of whose queries are met together, inverse walk
	ByKey    bool   // items are counted as keys are, though queries meet keys: positions of both
	Tile     int    // positions along the fastest axis
	Extent   [3]int // items of the longest dilation group, by axis
	Met      [3]int // an upper bound of what items of a dilation group meet, by axis
	Widest   [3]int // the most that one item meets, by axis
	Grid
}

// New returns a walk with the sizes that the problem gives it: without Tile and Grid.
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

// Apart reports whether the query heads of a group are taken one at a time, each adding its
// gradients to those already stored. That needs tensors of the accumulator's type and
// channels in multiples of 8. One head's data fits the core's cache, that of all heads does
// not.
func (w *Walk) Apart() bool {
	p := w.Problem
	return !w.Pass.Tokens && p.DType.Accumulator() == p.DType && p.HeadDim%8 == 0 && p.ValueDim%8 == 0
}

// longestCounted is the largest kernel for which the queries of keys are counted. Longer
// ones have a bound, so that no plan takes long.
const longestCounted = 512

// mostQueries bounds the queries that meet one key: leaders are within two kernels, more
// than one at an end of the group, and their stride groups reach over a stride at both ends.
func mostQueries(a *core.Axis, l *Line) int {
	return min(l.Queries, int((2*a.Kernel+2*a.Stride)/a.Period()+1))
}

// mostKeys is the most keys of a dilation group that are met, or more.
func mostKeys(a *core.Axis, ragged bool) int {
	keys := a.Keys()
	if a.Ranged() && !ragged {
		reach := a.RangeReach()
		keys = reach.End - reach.First
	}
	return int(kern.CeilDiv(keys, a.Dilation))
}

// extents returns the most items of a dilation group and the most that one of them meets.
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

// Turns is the number of times that items are taken, for other query heads.
func (w *Walk) turns() int {
	if w.Pass.Kind.Inverse() {
		return w.Group / w.Stacked
	}
	return 1
}

// Parts of a group of query heads that are items together.
func (w *Walk) groupParts() int {
	if w.Pass.Kind.Inverse() {
		return 1
	}
	return kern.CeilDiv(w.Group, w.Member)
}

// bins reports whether the walk can sum up d_rpb.
func (w *Walk) bins() bool {
	return w.Problem.RPB && (w.Pass.Kind == AttnQuery || w.Pass.Kind == QKQuery || w.Pass.Kind == AttnGradients)
}

// BinBytes is the memory for partial sums of d_rpb.
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

// MultiplyAdds is the number of them in a forward pass.
func MultiplyAdds(p *core.Problem) float64 {
	return float64(p.Batch*p.Heads) * float64(p.Outputs()) * float64(p.Slots()) * float64(p.HeadDim+p.ValueDim)
}

// ChooseTile makes tiles of up to most positions, as even as can be.
func (w *Walk) ChooseTile(most int) {
	tiles := max(kern.CeilDiv(w.Extent[2], most), 1)
	w.Tile = max(kern.CeilDiv(w.Extent[2], tiles), 1)
}

// LongRows reports whether windows have rows of many keys, or are all of the input: what
// package flash is for.
func LongRows(p *core.Problem) bool {
	whole := p.WindowSize() > manyKeys
	for a := range p.Axes {
		whole = whole && p.Axes[a].Kernel == p.Axes[a].Length
	}
	return whole || p.Axes[2].Kernel > manyKeys
}
