// SPDX-License-Identifier: MIT

package panel

import (
	"math"
	"unsafe"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// vector implements arithmetic with the kernels of an instruction set, which process two items
// at a time.
type vector struct {
	*scores[float32]
	kernels    *kern.PanelKernels
	groups     []group
	scorePairs []abi.ScorePair
	sumPairs   []abi.SumPair
	masks      []uint32 // [item][lane from the clip's base], panel width apart: all ones if the item meets the lane
}

// group is a sequence of items whose pairs have the same width.
type group struct {
	width           int
	item, items     int
	pairs, pairsEnd int // in scorePairs
	sums, sumsEnd   int // in sumPairs
}

func (x *vector) Narrows() bool { return x.kernels.ScoreHalves != nil }

func (x *vector) Clipped() {
	x.masks = kern.Grow(x.masks, x.items*x.panel.width)
	x.groups, x.scorePairs, x.sumPairs = x.groups[:0], x.scorePairs[:0], x.sumPairs[:0]
	for r := 0; r < x.items; r += 2 {
		for i := r; i < min(r+2, x.items); i++ {
			x.mask(i)
		}
		x.pair(r)
	}
}

// mask writes the masks of item r. For a width of 4 they are repeated, as a vector of 8 lanes
// holds two slots.
func (x *vector) mask(r int) {
	c := &x.clips[r]
	masks := x.masks[r*x.panel.width:][:kern.Padded(c.width)]
	for i := range masks {
		lane := c.base + i
		if c.width == 4 {
			lane = c.base + i%4
		}
		masks[i] = 0
		if c.from <= lane && lane < c.to {
			masks[i] = ^uint32(0)
		}
	}
}

// pair adds the pair of items that begins with r to the groups.
func (x *vector) pair(r int) {
	a, b := x.clips[r], x.clips[r+1]
	if a.width == 0 {
		return
	}
	last := len(x.groups) - 1
	if last < 0 || x.groups[last].width != a.width || x.groups[last].item+x.groups[last].items != r {
		x.groups = append(x.groups, group{width: a.width, item: r, pairs: len(x.scorePairs), sums: len(x.sumPairs)})
		last++
	}
	x.scorePairs = append(x.scorePairs, abi.ScorePair{Dst: r * x.pitch * kern.Float32Bytes, Item: r, Panel: a.base * kern.Float32Bytes})
	if b.from == b.to || a.from == a.to || b.from >= a.to {
		x.addSums(r, a.from, a.to-a.from, 0, 0)
		x.addSums(r, b.from, 0, 0, b.to-b.from)
	} else {
		x.addSums(r, a.from, b.from-a.from, a.to-b.from, b.to-a.to)
	}
	g := &x.groups[last]
	g.items = min(r+2, x.items) - g.item
	g.pairsEnd, g.sumsEnd = len(x.scorePairs), len(x.sumPairs)
}

// addSums adds a range of lanes, beginning with first, for the pair of items that begins with
// r: firstOnly lanes of the first item, then lanes that both share, then secondOnly lanes of
// the second item.
func (x *vector) addSums(r, first, firstOnly, shared, secondOnly int) {
	c, lanes := &x.clips[r], firstOnly+shared+secondOnly
	if lanes == 0 {
		return
	}
	x.sumPairs = append(x.sumPairs, abi.SumPair{
		Item: r, Weights: (r*x.pitch + first - c.base) * kern.Float32Bytes, Lane: first,
		FirstOnly: firstOnly, Shared: shared, SecondOnly: secondOnly,
		WeightSkip: (c.width - lanes) * kern.Float32Bytes, LaneSkip: x.panel.width - lanes,
	})
}

// vectors returns the number of slots, and of vectors of 8 lanes per slot, of a segment's
// weights. With a width of 4, two slots share a vector.
func (c *clip) vectors(s segment) (slots, eights int) {
	if c.width == 4 {
		return (s.count + 1) / 2, 1
	}
	return s.count, c.width / 8
}

func (x *vector) Score(dst, items, keys []float32, channels int) {
	for i := range x.groups {
		for _, s := range x.segments {
			x.scoreGroup(dst, items, keys, channels, &x.groups[i], s)
		}
	}
}

func (x *vector) scoreGroup(dst, items, keys []float32, channels int, g *group, s segment) {
	b := x.panel
	pitch, item, vector := b.slots*b.width*kern.Float32Bytes, x.pitch*kern.Float32Bytes, kern.Padded(channels)*kern.Float32Bytes
	to, from := dst[s.slot*g.width:], keys[s.slot*b.width:]
	pairs := x.scorePairs[g.pairs:g.pairsEnd]
	if x.kernels.ScorePairs != nil && g.width == 8 && s.count == 1 && len(pairs) >= 4 {
		n := len(pairs) &^ 3
		x.kernels.ScorePairs(unsafe.Pointer(&to[0]), unsafe.Pointer(&items[0]), unsafe.Pointer(&from[0]),
			unsafe.Pointer(&pairs[0]), n, channels, pitch, item, vector)
		if pairs = pairs[n:]; len(pairs) == 0 {
			return
		}
	}
	kernel, most, step, dstStep, rows, eights := x.kernels.ScoreRows, kern.MostRows, b.width, g.width, s.count, g.width/8
	switch {
	case g.width == 4:
		kernel, most, eights = x.kernels.ScoreHalves, kern.MostHalves, 1
	case s.count == 1:
		step, dstStep, rows, eights = 8, 8, eights, 1
	}
	chunk := kern.CeilDiv(rows, kern.CeilDiv(rows, most))
	for eight := range eights {
		for n := 0; n < rows; n += chunk {
			kernel(unsafe.Pointer(&to[n*dstStep+8*eight]), unsafe.Pointer(&items[0]), unsafe.Pointer(&from[n*step+8*eight]),
				unsafe.Pointer(&pairs[0]), len(pairs), channels, pitch, step*kern.Float32Bytes, min(chunk, rows-n),
				dstStep*kern.Float32Bytes, item, vector)
		}
	}
	if g.width == 4 && s.count%2 == 1 {
		x.fillHalf(dst, g, s)
	}
}

// fillHalf sets the unused second half of the last vector to -infinity, if the number of half
// vectors is odd.
func (x *vector) fillHalf(dst []float32, g *group, s segment) {
	for r := g.item; r < g.item+g.items; r++ {
		rest := dst[r*x.pitch+(s.slot+s.count)*4:][:4]
		for lane := range rest {
			rest[lane] = float32(math.Inf(-1))
		}
	}
}

func (x *vector) Accumulate(sums, rows []float32, channels int) {
	b, depth := x.panel, kern.Padded(channels)
	for i := range x.groups {
		g := &x.groups[i]
		if g.sums == g.sumsEnd {
			continue
		}
		for _, s := range x.segments {
			x.kernels.Accumulate(unsafe.Pointer(&sums[0]), unsafe.Pointer(&x.weights[s.slot*g.width]),
				unsafe.Pointer(&rows[s.slot*b.width*depth]), unsafe.Pointer(&x.sumPairs[g.sums]), g.sumsEnd-g.sums,
				depth, s.count, depth*kern.Float32Bytes, x.pitch*kern.Float32Bytes)
		}
	}
}

func (x *vector) Softmax(maxima, sums []float32) bool {
	if len(x.segments) != 1 || len(x.groups) == 0 || x.groups[0].item != 0 {
		return false
	}
	s := x.segments[0]
	for i := range x.groups {
		g := &x.groups[i]
		slots, eights := x.clips[g.item].vectors(s)
		x.kernels.Softmax(x.at(x.weights, g.item, s), x.maskOf(g.item), unsafe.Pointer(&maxima[g.item]), unsafe.Pointer(&sums[g.item]),
			g.items, slots, eights, x.pitch*kern.Float32Bytes, x.panel.width*kern.Float32Bytes)
	}
	return true
}

// at is the address of the weights or gradients of item r and a segment.
func (x *vector) at(of []float32, r int, s segment) unsafe.Pointer {
	return unsafe.Pointer(&of[r*x.pitch+s.slot*x.clips[r].width])
}

func (x *vector) maskOf(r int) unsafe.Pointer { return unsafe.Pointer(&x.masks[r*x.panel.width]) }

// lanesOf locates the per-lane numbers (lse or delta) for item r in a segment. skip is the
// number of bytes between the last lane of a slot and the first lane of the next slot.
func (x *vector) lanesOf(numbers []float32, r int, s segment) (p unsafe.Pointer, skip int) {
	c := &x.clips[r]
	return unsafe.Pointer(&numbers[s.slot*x.panel.width+c.base]), (x.panel.width - c.width) * kern.Float32Bytes
}

func (x *vector) Top(r int, than float32) float32 {
	for _, s := range x.segments {
		slots, eights := x.clips[r].vectors(s)
		if v := x.kernels.MaxRow(x.at(x.weights, r, s), x.maskOf(r), slots, eights); !(v <= than) {
			than = v
		}
	}
	return than
}

func (x *vector) ExpSum(r int, offset float32) (sum float32) {
	for _, s := range x.segments {
		slots, eights := x.clips[r].vectors(s)
		sum += x.kernels.ExpRow(x.at(x.weights, r, s), x.maskOf(r), slots, eights, offset)
	}
	return sum
}

func (x *vector) ExpLanes(r int) {
	for _, s := range x.segments {
		lse, skip := x.lanesOf(x.panel.lse, r, s)
		x.kernels.ExpLanes(x.at(x.weights, r, s), x.maskOf(r), lse, s.count, x.clips[r].width/8, skip)
	}
}

func (x *vector) Gradients(r int, delta float32) {
	for _, s := range x.segments {
		slots, eights := x.clips[r].vectors(s)
		x.kernels.GradientRow(x.at(x.weights, r, s), x.at(x.scores.gradients, r, s), slots*eights, delta)
	}
}

func (x *vector) GradientLanes(r int) {
	for _, s := range x.segments {
		delta, skip := x.lanesOf(x.panel.delta, r, s)
		x.kernels.GradientLanes(x.at(x.weights, r, s), x.at(x.scores.gradients, r, s), delta, s.count, x.clips[r].width/8, skip)
	}
}
