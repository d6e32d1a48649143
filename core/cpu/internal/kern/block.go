// SPDX-License-Identifier: MIT

package kern

import (
	"math"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// MaskBits is the number of bits of a mask, and thus the maximum number of elements that the
// lanes of a quad take in a group.
const MaskBits = 32

// BlockTwins returns the Go twins of the kernels for quads, for vectors of any number of lanes.
// They compute element by element.
func BlockTwins(lanes int) *BlockKernels {
	return &BlockKernels{
		Lanes: lanes, MostGroups: 4,
		Score: ScoreQuads, Softmax: SoftmaxQuads, GradientItems: GradientItems, GradientLanes: GradientLanes,
		Accumulate: AccumulateQuads, Scatter: ScatterQuads,
		Transpose: func(dst, rows unsafe.Pointer, vectors, pitch int) {
			for lane, p := range unsafe.Slice((*core.Address)(rows), lanes) {
				for c := range lanes * vectors {
					*number(dst, c*pitch+4*lane) = *number(p.Pointer(), 4*c)
				}
			}
		},
		DotRows: func(dst, a, b unsafe.Pointer, rows, vectors, step, aStep, bStep int) {
			for r := range rows {
				var sum float32
				for c := range lanes * vectors {
					sum += *number(a, r*aStep+4*c) * *number(b, r*bStep+4*c)
				}
				*number(dst, r*step) = sum
			}
		},
	}
}

func number(p unsafe.Pointer, bytes int) *float32 { return (*float32)(unsafe.Add(p, bytes)) }

func quadsOf(c *abi.Block) []abi.Quad { return unsafe.Slice((*abi.Quad)(c.Quads), c.Count) }

// itemOf is the offset in bytes of item q of quad i in Vectors.
func itemOf(c *abi.Block, i, q int) int { return (2*i+q%2)*c.Item + q/2*c.Row }

// prefetchStreams advances the streams by two rows per quad. Kernels also prefetch these rows.
func prefetchStreams(c *abi.Block) {
	streams := unsafe.Slice((*abi.Stream)(c.Ahead), c.Streams)
	for i := range streams {
		streams[i].Row = streams[i].Row.Add(2 * c.Count * streams[i].Step)
	}
}

// ScoreQuads computes
//
//	for i, b := range quads { for q := range 4 { for g := range groups { for lane := range lanes {
//		weights[(4*i+q)*weightItem+g*groupStep+lane] = sum over n < channels of
//			vectors[item q of quad i][n] * panel[b.panel+offsets[g]+n*pitch+lane] } } } }
//
// It processes one vector per group, for up to MostGroups groups. If upper is not 0, only the
// first row of items meets the first group, and if lower is not 0, only the second row of items
// meets the last group; the scores of the other row with that group may be left undefined.
// Before every quad it prefetches two rows of each stream.
func ScoreQuads(c *abi.Block) {
	prefetchStreams(c)
	offsets := unsafe.Slice((*int)(c.Offsets), c.Groups)
	for i, b := range quadsOf(c) {
		for k := range 4 * c.Groups * c.Lanes {
			q, g, lane := k/(c.Groups*c.Lanes), k/c.Lanes%c.Groups, k%c.Lanes
			var sum float32
			for n := range c.Channels {
				sum += *number(c.Vectors, itemOf(c, i, q)+4*n) * *number(c.Panel, b.Panel+offsets[g]+n*c.Pitch+4*lane)
			}
			*number(c.Weights, (4*i+q)*c.WeightItem+g*c.GroupStep+4*lane) = sum
		}
	}
}

// eachElement calls f for the elements of an item's groups. met is true if the element's bit is
// set both in b.masks[q%2] and in masks[g][q/2]; the latter repeats its bits every lanes bits.
func eachElement(c *abi.Block, b *abi.Quad, q int, f func(at, g int, met bool)) {
	masks := unsafe.Slice((*[2]uint32)(c.Masks), c.Groups)
	for g := range c.Groups {
		for lane := range c.Lanes * c.Wide {
			f(g*c.GroupStep+4*lane, g, b.Masks[q%2]&masks[g][q/2]>>lane&1 != 0)
		}
	}
}

// SoftmaxQuads computes, for each item q of each quad i, where "met" elements are those of
// eachElement,
//
//	x := the lanes*wide weights of the item at every g*groupStep
//	max := the maximum of the elements of x that are met
//	x = e**(x-max) if met, else 0; here a maximum of -infinity counts as 0
//	lse[q/2*numberRow+2*i+q%2] = max + log(sum of x)
//	lse[(2+q/2)*numberRow+2*i+q%2] = Inverse(sum of x)
func SoftmaxQuads(c *abi.Block) {
	for i, b := range quadsOf(c) {
		for q := range 4 {
			x := unsafe.Add(c.Weights, (4*i+q)*c.WeightItem)
			top, sum := float32(math.Inf(-1)), float32(0)
			eachElement(c, &b, q, func(at, _ int, met bool) {
				if v := *number(x, at); met && v > top {
					top = v
				}
			})
			place := q/2*c.NumberRow + (2*i+q%2)*4
			*number(c.LSE, place) = top
			if math.IsInf(float64(top), -1) {
				top = 0
			}
			eachElement(c, &b, q, func(at, _ int, met bool) {
				v := number(x, at)
				*v = weight(*v, top, met)
				sum += *v
			})
			*number(c.LSE, 2*c.NumberRow+place) = sum
		}
	}
	logSumExpQuads(c)
}

// logSumExpQuads is the last step of SoftmaxQuads. It replaces the maxima by lse and the sums
// by their inverses.
func logSumExpQuads(c *abi.Block) {
	for row := range 2 {
		maxima := unsafe.Slice((*float32)(unsafe.Add(c.LSE, row*c.NumberRow)), 2*c.Count)
		sums := unsafe.Slice((*float32)(unsafe.Add(c.LSE, (2+row)*c.NumberRow)), 2*c.Count)
		for i, sum := range sums {
			if sum != 0 { // true for NaN too, which propagates
				maxima[i] += log32(sum)
			}
			sums[i] = Inverse(sum)
		}
	}
}

func weight(x, offset float32, met bool) float32 {
	if !met {
		return 0
	}
	return exp32(x - offset)
}

// GradientItems computes, for the elements x of weights and y of gradients, as in SoftmaxQuads,
//
//	x = e**(x-lse) if met, else 0
//	y = x * (y-delta) if met, else undefined
//
// lse and delta have one number per item, at q/2*numberRow+2*i+q%2.
func GradientItems(c *abi.Block) {
	for i, b := range quadsOf(c) {
		for q := range 4 {
			first, place := (4*i+q)*c.WeightItem, q/2*c.NumberRow+(2*i+q%2)*4
			eachElement(c, &b, q, func(at, _ int, met bool) {
				x, y := number(c.Weights, first+at), number(c.Gradients, first+at)
				*x = weight(*x, *number(c.LSE, place), met)
				*y = *x * (*y - *number(c.Delta, place))
			})
		}
	}
}

// GradientLanes is GradientItems with lse and delta per lane. They have the layout of one
// channel of a score panel: those of group g begin at b.panel+offsets[g].
func GradientLanes(c *abi.Block) {
	offsets := unsafe.Slice((*int)(c.Offsets), c.Groups)
	for i, b := range quadsOf(c) {
		for q := range 4 {
			first := (4*i + q) * c.WeightItem
			eachElement(c, &b, q, func(at, g int, met bool) {
				x, y := number(c.Weights, first+at), number(c.Gradients, first+at)
				place := b.Panel + offsets[g] + at - g*c.GroupStep
				*x = weight(*x, *number(c.LSE, place), met)
				*y = *x * (*y - *number(c.Delta, place))
			})
		}
	}
}

// eachMetLane calls f for each item q of each quad i, each row of keys that it meets, and each
// lane of the row that it meets.
func eachMetLane(c *abi.Block, f func(i, q, lane int, b *abi.Quad, row abi.MetRow)) {
	rows := unsafe.Slice((*abi.MetRow)(c.Rows), c.Upper+c.Both+c.Lower)
	for i, b := range quadsOf(c) {
		for q := range 4 {
			from, to, first, last := 0, c.Upper+c.Both, 0, b.Left+b.Both
			if q >= 2 {
				from, to = c.Upper, len(rows)
			}
			if q%2 == 1 {
				first, last = b.Left, b.Left+b.Both+b.Right
			}
			for _, r := range rows[from:to] {
				for lane := first; lane < last; lane++ {
					f(i, q, lane, &b, r)
				}
			}
		}
	}
}

// AccumulateQuads adds the panel's lanes that an item meets, times their weights, to the item's
// sums. The list of rows begins with upper rows that only the first row of items meets, followed
// by both rows that both meet and lower rows that only the second one meets. Channels are a
// whole number of vectors.
//
//	for i, b := range quads { for q := range 4 { for each row r and lane l that item q meets { for n := range channels {
//		vectors[item q of quad i][n] += weights[(4*i+q)*weightItem+r.weights+l*column] * panel[b.rows+r.panel+l*lane+n] } } } }
//
// Before every quad it prefetches two rows of each stream.
func AccumulateQuads(c *abi.Block) {
	prefetchStreams(c)
	eachMetLane(c, func(i, q, l int, b *abi.Quad, r abi.MetRow) {
		w := *number(c.Weights, (4*i+q)*c.WeightItem+r.Weights+l*c.Column)
		for n := range c.Channels {
			*number(c.Vectors, itemOf(c, i, q)+4*n) += w * *number(c.Panel, b.Rows+r.Panel+l*c.Lane+4*n)
		}
	})
}

// ScatterQuads is the transpose of AccumulateQuads: it adds the items, times the weights, to the
// lanes of the panel that they meet.
//
//	panel[b.rows+r.panel+l*lane+n] += weights[(4*i+q)*weightItem+r.weights+l*column] * vectors[item q of quad i][n]
func ScatterQuads(c *abi.Block) {
	prefetchStreams(c)
	eachMetLane(c, func(i, q, l int, b *abi.Quad, r abi.MetRow) {
		w := *number(c.Weights, (4*i+q)*c.WeightItem+r.Weights+l*c.Column)
		for n := range c.Channels {
			*number(c.Panel, b.Rows+r.Panel+l*c.Lane+4*n) += w * *number(c.Vectors, itemOf(c, i, q)+4*n)
		}
	})
}
