// SPDX-License-Identifier: MIT

package kern

import (
	"math"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// MaskBits is the most elements of a quad's lanes in a group: those of a mask.
const MaskBits = 32

// BlockTwins are the kernels for quads in Go, element by element, for vectors of any
// number of lanes.
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

// itemOf is where item q of quad i is among vectors of channels.
func itemOf(c *abi.Block, i, q int) int { return (2*i+q%2)*c.Item + q/2*c.Row }

// prefetchStreams moves the streams on, two rows per quad; kernels prefetch these rows.
func prefetchStreams(c *abi.Block) {
	streams := unsafe.Slice((*abi.Stream)(c.Ahead), c.Streams)
	for i := range streams {
		streams[i].Row = streams[i].Row.Add(2 * c.Count * streams[i].Step)
	}
}

// ScoreQuads is
//
//	for i, b := range quads { for q := range 4 { for g := range groups { for lane := range lanes {
//		weights[(4*i+q)*weightItem+g*groupStep+lane] = sum over n < channels of
//			vectors[item q of quad i][n] * panel[b.panel+offsets[g]+n*pitch+lane] } } } }
//
// It takes one vector of each group, and up to MostGroups of them. If upper is not 0, only the
// first row of items meets the first group, if lower is not 0, only the second the last: what
// the others would have of them may be left undefined. Before every quad it prefetches two rows
// of each stream.
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

// eachElement calls f for the elements of an item's groups, with whether the masks let
// them through: with both b.masks[q%2] and masks[g][q/2], one bit per element. That of
// the second is repeated every lanes bits.
func eachElement(c *abi.Block, b *abi.Quad, q int, f func(at, g int, met bool)) {
	masks := unsafe.Slice((*[2]uint32)(c.Masks), c.Groups)
	for g := range c.Groups {
		for lane := range c.Lanes * c.Wide {
			f(g*c.GroupStep+4*lane, g, b.Masks[q%2]&masks[g][q/2]>>lane&1 != 0)
		}
	}
}

// SoftmaxQuads is, for each item q of each quad i,
//
//	x := the lanes*wide weights of the item at every g*groupStep
//	max := the maximum of x in the mask
//	x = e**(x-max) in the mask, otherwise 0; a maximum of -infinity counts as 0
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

// logSumExpQuads ends SoftmaxQuads, where maxima are in the place of lse and sums in that of
// their inverse.
func logSumExpQuads(c *abi.Block) {
	for row := range 2 {
		maxima := unsafe.Slice((*float32)(unsafe.Add(c.LSE, row*c.NumberRow)), 2*c.Count)
		sums := unsafe.Slice((*float32)(unsafe.Add(c.LSE, (2+row)*c.NumberRow)), 2*c.Count)
		for i, sum := range sums {
			if sum != 0 { // NaN stays
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

// GradientItems is, with x and y of weights and gradients and the mask as in SoftmaxQuads,
// and a number of lse and of delta for every item, at q/2*numberRow+2*i+q%2,
//
//	x = e**(x-lse) in the mask, otherwise 0
//	y = x * (y-delta) in the mask, otherwise undefined
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

// GradientLanes is GradientItems with numbers of lse and delta for every lane, as in one
// channel of a score panel: at b.panel+offsets[g].
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

// eachMetLane calls f for the items q of quads i, the rows that they meet, and the lanes.
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

// AccumulateQuads adds the lanes that each item meets in rows of the panel: first upper
// rows that only the first row of items meets, then both rows, then lower rows that only
// the second meets. Channels come in whole vectors.
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

// ScatterQuads is AccumulateQuads the other way round: it adds the items to the lanes of
// the panel that they meet.
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
