// SPDX-License-Identifier: MIT

package cpu

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
)

// tile is the state of one goroutine in a walk: the items of a tile with their
// sums, and the columns that they meet. An item is a position along the fastest
// axis and, in the forward walk, a query head of the group; items of one position
// follow one another.
type tile[T number] struct {
	*run[T]
	*stage
	lines          [3]line
	sample, kvHead int
	class          int // of dilation
	left           sched.Stealable[rowsOf]
	member         int // first query head of the group that takes part

	simd *kernels // nil: portable Go

	items, positions int
	place            [3]int // number of the first item on each axis
	lo, hi, start    []int  // [position] columns along the fastest axis, first window slot
	low, high        int    // union of [lo, hi)
	start0, start1   int    // first window slots of the row, forward walk

	first, second       []T // [item][channel]
	sumFirst, sumSecond []T
	maximum, total      []T  // [item] of the online softmax
	fresh               bool // no columns were taken yet
	lse, delta          []T  // [item] forward walk of gradients

	groups     []group
	scorePairs []scorePair
	sumPairs   []sumPair
	clips      []clip   // [item]
	masks      []uint32 // [item][column of 8 lanes][lane] all ones for lanes that the item meets
	known      [4]int   // what clips were computed from
	narrow     bool     // windows of up to 4 lanes may take 4 lanes

	panels   [2]panel[T] // of the token layout and of additional tokens
	columns  []column
	segments []segment
	current  *panel[T]
	from, to int  // the columns along the fastest axis that are packed
	tokens   bool // they are additional tokens

	scores, gradients []T // weights and their gradients, see clip
	rowPitch          int // elements of an item in them
	factors           []T // [item]
	bias              []T
	bins              []T // d_rpb of the group's heads

	strip   strip[T]
	stencil stencil
	blocked blockState[T]
}

func (t *tile[T]) span(axis, n int) (lo, hi, start int) {
	if t.pass.kind.inverse() {
		lo, hi = t.lines[axis].queriesOf(n)
		return lo, hi, 0
	}
	return t.lines[axis].keysOf(n)
}

// address returns where the channels of a role's tensor are for the n-th query
// or key of the lines, whichever the tensor has.
func (t *tile[T]) address(role core.Role, n0, n1, n2, head int) core.Address {
	x, l := &t.tensors[role], &t.lines
	switch role {
	case core.Query, core.DQuery:
		n0, n1, n2 = l[0].query.at(n0), l[1].query.at(n1), l[2].query.at(n2)
	case core.Key, core.Value, core.DKey, core.DValue:
		n0, n1, n2 = l[0].key.at(n0), l[1].key.at(n1), l[2].key.at(n2)
	case core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
		return x.base.Add(t.sample*x.strides[0] + n2*x.strides[1] + head*x.strides[2])
	default:
		n0, n1, n2 = l[0].output.at(n0), l[1].output.at(n1), l[2].output.at(n2)
	}
	return x.row(t.sample, n0, n1, n2, head)
}

// rowStep is the number of bytes from a row of channels to the next one along the
// fastest axis of the lines.
func (t *tile[T]) rowStep(role core.Role) int {
	x, l := &t.tensors[role], &t.lines[2]
	switch role {
	case core.Query, core.DQuery:
		return l.query.step * x.strides[3]
	case core.Key, core.Value, core.DKey, core.DValue:
		return l.key.step * x.strides[3]
	case core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
		return x.strides[1]
	}
	return l.output.step * x.strides[3]
}

// roles of the tensors that a walk's items and columns come from.
func (t *tile[T]) itemRoles() (first, second core.Role) {
	switch {
	case !t.pass.kind.inverse():
		return core.Query, core.DOut
	case t.pass.tokens:
		return core.ExtraKey, core.ExtraValue
	}
	return core.Key, core.Value
}

func (t *tile[T]) columnRoles() (first, second core.Role) {
	switch {
	case t.pass.kind.inverse():
		return core.Query, core.DOut
	case t.tokens:
		return core.ExtraKey, core.ExtraValue
	}
	return core.Key, core.Value
}

// head is the query head of item r in the forward walk, and the key head in the
// inverse walk.
func (t *tile[T]) itemHead(r int) int {
	if t.pass.kind.inverse() {
		return t.kvHead
	}
	return t.kvHead*t.group + t.member + r%t.heads()
}

// heads is the number of query heads that are items.
func (t *tile[T]) heads() int { return t.items / t.positions }

// position is the number of item r's position in the tile.
func (t *tile[T]) position(r int) int {
	if t.items == t.positions {
		return r
	}
	return r / t.heads()
}

func (t *tile[T]) columnHead(c *column) int {
	if t.pass.kind.inverse() {
		return t.kvHead*t.group + t.member + c.member
	}
	return t.kvHead
}

// plan sets the positions of the tile, n <= number < n+count.
func (t *tile[T]) plan(n, count int) {
	t.place[2], t.positions = n, count
	t.lo, t.hi, t.start = grow(t.lo, count), grow(t.hi, count), grow(t.start, count)
	t.low, t.high = math.MaxInt, 0
	for i := range count {
		lo, hi, start := t.span(2, n+i)
		t.lo[i], t.hi[i], t.start[i] = lo, hi, start
		if lo < hi {
			t.low, t.high = min(t.low, lo), max(t.high, hi)
		}
	}
	t.low = min(t.low, t.high)
	t.known = [4]int{-1}
}

// row computes the items of the tile at one place of the slow axes.
func (t *tile[T]) row(n0, n1 int) {
	t.place[0], t.place[1] = n0, n1
	switch {
	case t.walk.stencil:
		t.stencilRow()
		return
	case t.walk.strip:
		t.computeStrip()
		return
	}
	lo0, hi0, start0 := t.span(0, n0)
	lo1, hi1, start1 := t.span(1, n1)
	t.start0, t.start1 = start0, start1
	t.loadItems()
	t.tokens, t.current = false, &t.panels[0]
	if hi0-lo0 <= t.depth && hi1-lo1 <= t.ring && t.high-t.low <= t.width {
		t.resident(lo0, hi0, lo1, hi1)
	} else {
		t.stream(lo0, hi0, lo1, hi1)
	}
	if t.p.Extra > 0 && !t.pass.kind.inverse() {
		t.extra()
	}
	t.storeItems()
}

// members is the number of query heads that columns have.
func (t *tile[T]) members() int {
	if t.pass.kind.inverse() {
		return t.stacked
	}
	return 1
}

// resident packs what is not packed yet of a window that fits the panel, and
// computes with all of it at once.
func (t *tile[T]) resident(lo0, hi0, lo1, hi1 int) {
	t.columns = t.columns[:0]
	t.from, t.to = t.low, t.high
	if lo1 == hi1 || t.from == t.to {
		return
	}
	turn := lo1 % t.ring
	for member := range t.members() {
		for n0 := lo0; n0 < hi0; n0++ {
			base := (member*t.depth + n0 - lo0) * t.ring
			for slot := range t.ring {
				n1 := lo1 - turn + slot
				if n1 < lo1 {
					n1 += t.ring
				}
				if n1 < hi1 {
					t.columns = append(t.columns, column{n0, n1, member, base + slot})
				}
			}
		}
	}
	for i := range t.columns {
		if c := &t.columns[i]; t.current.tags[c.slot] != c.n1 {
			t.packColumn(c)
			t.current.tags[c.slot] = c.n1
		}
	}
	t.compute()
}

// stream computes with a window that is larger than the panel, piece by piece.
func (t *tile[T]) stream(lo0, hi0, lo1, hi1 int) {
	t.current.forget()
	for from := t.low; from < t.high; from += t.width {
		t.from, t.to = from, min(from+t.width, t.high)
		t.columns = t.columns[:0]
		for member := range t.members() {
			for n0 := lo0; n0 < hi0; n0++ {
				for n1 := lo1; n1 < hi1; n1++ {
					t.columns = append(t.columns, column{n0, n1, member, len(t.columns)})
					t.packColumn(&t.columns[len(t.columns)-1])
					if len(t.columns) == t.current.slots {
						t.compute()
						t.columns = t.columns[:0]
					}
				}
			}
		}
		t.compute()
	}
}

// extra computes with the additional tokens.
func (t *tile[T]) extra() {
	t.tokens, t.current = true, &t.panels[1]
	n := int(t.p.Extra)
	for from := 0; from < n; from += t.current.width {
		t.from, t.to = from, min(from+t.current.width, n)
		t.columns = append(t.columns[:0], column{})
		if t.current.tags[0] != from {
			t.packColumn(&t.columns[0])
			t.current.tags[0] = from
		}
		t.compute()
	}
}

func (t *tile[T]) packColumn(c *column) {
	b, lanes := t.current, t.to-t.from
	first, second := t.columnRoles()
	head := t.columnHead(c)
	if t.parts.scoreFirst || t.parts.sumFirst {
		p, step := t.lane(first, c, head)
		turned := b.turnedFirst
		if !t.parts.scoreFirst {
			turned = nil
		}
		t.pack(turned, b.first, c.slot, lanes, source{p, step, int(t.p.HeadDim), t.p.DType}, t.parts.sumFirst)
	}
	if t.parts.scoreSecond || t.parts.sumSecond {
		p, step := t.lane(second, c, head)
		turned := b.turnedSecond
		if !t.parts.scoreSecond {
			turned = nil
		}
		t.pack(turned, b.second, c.slot, lanes, source{p, step, int(t.p.ValueDim), t.p.DType}, t.parts.sumSecond)
	}
	if t.pass.kind == attnKey {
		t.packScalars(c, head, lanes)
	}
}

// lane returns the address of the first packed column and the bytes to the next.
func (t *tile[T]) lane(role core.Role, c *column, head int) (p core.Address, step int) {
	return t.address(role, c.n0, c.n1, t.from, head), t.rowStep(role)
}

// packScalars packs lse and delta of queries.
func (t *tile[T]) packScalars(c *column, head, lanes int) {
	at := c.slot * t.current.width
	p, step := t.lane(core.LSE, c, head)
	load(t.current.lse[at:at+lanes], p, step, t.p.DType.Accumulator())
	for lane := range lanes {
		t.current.delta[at+lane] = t.deltaOf(c.n0, c.n1, t.from+lane, head)
	}
}

// deltaOf is the part of a query's logit gradients that all its columns share:
// d_out . out - d_lse.
func (t *tile[T]) deltaOf(n0, n1, n2, head int) T {
	depth, dtype := int(t.p.ValueDim), t.p.DType
	out, dOut := t.address(core.Out, n0, n1, n2, head), t.address(core.DOut, n0, n1, n2, head)
	var sum T
	if t.simd != nil && dtype == core.Float32 && depth%8 == 0 {
		sum = T(t.simd.dot(out.Pointer(), dOut.Pointer(), depth/8))
	} else {
		t.bias = grow(t.bias, 2*padded(depth))
		a, b := t.bias[:padded(depth)], t.bias[padded(depth):]
		t.loadRows(a, 0, source{out, 0, depth, dtype}, 1, 1)
		t.loadRows(b, 0, source{dOut, 0, depth, dtype}, 1, 1)
		for i, v := range a[:depth] {
			sum += v * b[i]
		}
	}
	if t.tensors[core.DLSE].given() {
		var d [1]T
		load(d[:], t.address(core.DLSE, n0, n1, n2, head), 0, dtype.Accumulator())
		sum -= d[0]
	}
	return sum
}
