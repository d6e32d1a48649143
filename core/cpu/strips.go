// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// Fused attention whose windows are single rows of few keys is walked in strips:
// tiles whose kernels read rows of channels where the tensors have them, because
// there is too little arithmetic to pay for packing. This file has the forward
// pass; stripgrad.go has the gradients.

const (
	stripTile    = 32 // positions
	longestStrip = 64 // keys of a window
)

// striped reports whether a problem is walked in strips.
func striped(p *core.Problem) bool {
	a := &p.Axes
	if simd != nil && simd.dots == nil || p.RPB || p.Extra > 0 || a[0].Kernel*a[1].Kernel != 1 || a[2].Kernel > longestStrip {
		return false
	}
	switch p.Op {
	case core.AttnForward:
		return true
	case core.AttnBackward:
		return a[0].QueryStep*a[1].QueryStep*a[2].QueryStep == 1
	}
	return false
}

// newStripWalk is the only walk of a striped problem.
func newStripWalk(p *core.Problem) *walk {
	w := &walk{pass: passesOf[p.Op][0], group: int(p.Group()), member: 1, strip: true}
	if p.Op == core.AttnBackward {
		w.pass = pass{attnStrip, false, []core.Role{core.DQuery, core.DKey, core.DValue}}
		w.member = w.group
	}
	w.chooseStrip(p, [3]int{1, 1, int(p.Axes[2].Kernel)})
	return w
}

// chooseStrip chooses the positions of a strip and the tasks.
func (w *walk) chooseStrip(p *core.Problem, widest [3]int) {
	for a := range 3 {
		w.extent[a], _ = extents(&p.Axes[a], w.pass)
	}
	w.tile = stripTile
	tiles := max(parted(w.extent[2], w.tile), 1)
	w.tile = max(parted(w.extent[2], tiles), 1)
	w.chooseTasks(p, widest)
}

// stripScratch is scratch for a strip: rows that are converted, weights and their
// gradients. Windows of the queries that meet own keys reach over twice a window.
func (w *walk) stripScratch(p *core.Problem, element int) int {
	queries := w.tile + 2*int(p.Axes[2].Kernel)
	keys := queries + 2*int(p.Axes[2].Kernel)
	rows := 4*queries + 4*keys
	return (rows*padded(int(max(p.HeadDim, p.ValueDim))) + 2*(queries*padded(int(p.Axes[2].Kernel))+keys)) * element
}

// strip is what a tile needs to work on strips.
type strip[T number] struct {
	stretches []stretch
	own       own
	call      stripCall
	factors   [2]T     // scale and 1
	masks     []uint32 // [lane] all ones for the keys of a window
	loaded    [5][]T   // rows of channels that had to be converted
	stored    [3][]T   // rows of channels before their conversion
}

// stretch is a sequence of items whose windows have the same number of keys and
// are the same distance apart.
type stretch struct{ item, items, low, keys, advance int }

// findStretches parts items with the windows lo <= key < hi into stretches.
func findStretches(to []stretch, lo, hi []int) []stretch {
	to = to[:0]
	for i := range lo {
		keys := hi[i] - lo[i]
		if last := len(to) - 1; last >= 0 && to[last].keys == keys {
			s := &to[last]
			advance := lo[i] - lo[i-1]
			if s.items == 1 {
				s.advance = advance
			}
			if s.advance == advance {
				s.items++
				continue
			}
		}
		to = append(to, stretch{item: i, items: 1, low: lo[i], keys: keys})
	}
	return to
}

// within is the part of a stretch of the items from <= i < to.
func (s stretch) within(from, to int) stretch {
	from, to = max(from, s.item), min(to, s.item+s.items)
	s.low += (from - s.item) * s.advance
	s.item, s.items = from, to-from
	return s
}

// planStrip sets the positions of the tile, n <= number < n+count.
func (t *tile[T]) planStrip(n, count int) {
	t.plan(n, count)
	b := &t.strip
	b.stretches = findStretches(b.stretches, t.lo, t.hi)
	b.factors = [2]T{T(t.p.Scale), 1}
}

// strip computes the own positions of the tile for one head.
func (t *tile[T]) computeStrip() {
	if t.pass.kind == attnStrip {
		t.gradientStrip()
		return
	}
	t.forwardStrip()
}

// view is rows of whole vectors of channels.
type view struct {
	p     core.Address
	step  int
	ahead int // bytes from a row to the next strip's, which kernels ask for
}

func (v view) row(n int) core.Address { return v.p.Add(n * v.step) }

// direct reports whether kernels can read rows of channels where they are.
func (t *tile[T]) direct(channels int) bool {
	return int(t.p.DType.Size()) == elementSize[T]() && channels%8 == 0
}

// lineRows is the rows of a role's tensor from one of a line on.
type lineRows struct {
	source
	count int // up to the end of the line
}

func (t *tile[T]) rows(role core.Role, n2, head, channels int) lineRows {
	count, n0, n1 := t.lines[2].queries, t.place[0], t.place[1]
	switch role {
	case core.Key, core.Value, core.DKey, core.DValue:
		count = t.lines[2].keys
		n0, n1 = t.lines[0].position.at(n0), t.lines[1].position.at(n1) // the row of queries meets its own row of keys only
	}
	p := t.address(role, n0, n1, n2, head)
	return lineRows{source{p, t.rowStep(role), channels, t.p.DType}, count - n2}
}

// read returns count rows of a source, converted to buffer if they have to be.
func (t *tile[T]) read(s lineRows, count int, buffer *[]T) view {
	if t.direct(s.channels) {
		return view{s.p, s.step, t.walk.tile * s.step}
	}
	t.askForNext(s, count)
	depth := padded(s.channels)
	*buffer = grow(*buffer, count*depth)
	t.loadRows(*buffer, depth, s.source, count, 1)
	if depth > s.channels {
		for r := range count {
			clear((*buffer)[r*depth+s.channels : (r+1)*depth])
		}
	}
	return view{addressOf(unsafe.SliceData(*buffer)), depth * elementSize[T](), 0}
}

// target returns where kernels write count rows that are to be stored in s: there
// or, if they have to be converted, in buffer.
func (t *tile[T]) target(s lineRows, count int, buffer *[]T) view {
	if t.direct(s.channels) {
		return view{s.p, s.step, t.walk.tile * s.step}
	}
	t.askForNext(s, count)
	depth := padded(s.channels)
	*buffer = grow(*buffer, count*depth)
	return view{addressOf(unsafe.SliceData(*buffer)), depth * elementSize[T](), 0}
}

// askForNext asks for the rows of the next strip, which follow count rows of this one.
func (t *tile[T]) askForNext(s lineRows, count int) {
	next := min(t.walk.tile, s.count-count)
	if next > 0 && t.simd != nil && t.simd.prefetch != nil {
		t.simd.prefetch(s.p.Add(count*s.step).Pointer(), next, s.step, parted(s.channels*int(s.dtype.Size()), lineBytes))
	}
}

// keep stores what kernels wrote to the target of s.
func (t *tile[T]) keep(s lineRows, count int, buffer []T) {
	if !t.direct(s.channels) {
		t.storeRows(s.source, buffer, padded(s.channels), count, t.strip.factors[1:], 0)
	}
}

// dots and sums run a kernel on t.strip.call.
func (t *tile[T]) dots() {
	if t.simd != nil {
		t.simd.dots(unsafe.Pointer(&t.strip.call))
		return
	}
	dots[T](&t.strip.call)
}

func (t *tile[T]) sums() {
	if t.simd != nil {
		t.simd.sums(unsafe.Pointer(&t.strip.call))
		return
	}
	sums[T](&t.strip.call)
}

// stripPitch is the number of elements from an item's weights to the next item's.
func (t *tile[T]) stripPitch() int { return padded(int(t.p.Axes[2].Kernel)) }

// scoreStretches takes the inner products of items with the keys of their windows.
// Those of item i and a key are at dst[i*pitch+key-t.low].
func (t *tile[T]) scoreStretches(dst *[]T, items, keys view, channels int, factor *T) {
	size, pitch := elementSize[T](), t.stripPitch()
	*dst = grow(*dst, t.positions*pitch+t.high-t.low+slack)
	for i := range t.strip.stretches {
		s := &t.strip.stretches[i]
		t.strip.call = stripCall{
			dst: addressOf(&(*dst)[s.item*pitch+s.low-t.low]), vectors: items.row(s.item), rows: keys.row(s.low - t.low),
			factors: addressOf(factor), items: s.items, count: s.keys, blocks: padded(channels) / 8,
			dstStep: (pitch + s.advance) * size, vectorStep: items.step, advance: s.advance * keys.step, step: keys.step,
			rowsAhead: keys.ahead, itemsAhead: items.ahead,
		}
		t.dots()
	}
}

// sumStretches adds up the rows of the keys of own items' windows times their
// weights, which are where scoreStretches has them, and times the items' factors.
func (t *tile[T]) sumStretches(dst view, weights []T, keys view, channels int, factors *T, factorStep int) {
	size, pitch, o := elementSize[T](), t.stripPitch(), &t.strip.own
	for i := range t.strip.stretches {
		s := t.strip.stretches[i].within(o.first, o.first+o.count)
		if s.items <= 0 {
			continue
		}
		t.strip.call = stripCall{
			dst: dst.row(s.item - o.first), vectors: addressOf(&weights[s.item*pitch+s.low-t.low]), rows: keys.row(s.low - t.low),
			factors: addressOf(factors).Add(s.item * factorStep * size), items: s.items, count: s.keys, blocks: padded(channels) / 8,
			dstStep: dst.step, vectorStep: (pitch + s.advance) * size, advance: s.advance * keys.step, step: keys.step,
			factorStep: factorStep * size, weightStep: size,
			rowsAhead: keys.ahead, itemsAhead: dst.ahead,
		}
		t.sums()
	}
}

// forwardStrip computes the items of the tile for one query head.
func (t *tile[T]) forwardStrip() {
	b, head := &t.strip, t.kvHead*t.group+t.member
	d, dv, keys := int(t.p.HeadDim), int(t.p.ValueDim), t.high-t.low
	query := t.read(t.rows(core.Query, t.place[2], head, d), t.positions, &b.loaded[0])
	key := t.read(t.rows(core.Key, t.low, t.kvHead, d), keys, &b.loaded[1])
	t.scoreStretches(&t.scores, query, key, d, &b.factors[0])
	t.softmaxStretches()
	value := t.read(t.rows(core.Value, t.low, t.kvHead, dv), keys, &b.loaded[2])
	out := t.rows(core.Out, t.place[2], head, dv)
	t.sumStretches(t.target(out, t.positions, &b.stored[0]), t.scores, value, dv, &t.total[0], 1)
	t.keep(out, t.positions, b.stored[0])
	if t.tensors[core.LSE].given() {
		lse := t.rows(core.LSE, t.place[2], head, 1)
		store(lse.p, lse.step, t.p.DType.Accumulator(), t.lse[:t.positions], 1)
	}
}

// maskKeys returns masks for the first keys of whole vectors of lanes.
func (t *tile[T]) maskKeys(keys int) unsafe.Pointer {
	t.strip.masks = grow(t.strip.masks, padded(keys))
	for i := range t.strip.masks {
		t.strip.masks[i] = 0
		if i < keys {
			t.strip.masks[i] = ^uint32(0)
		}
	}
	return unsafe.Pointer(unsafe.SliceData(t.strip.masks))
}

// softmaxStretches turns logits into weights without their common factors, which
// it leaves in t.total, and finds lse.
func (t *tile[T]) softmaxStretches() {
	count, pitch := padded(t.positions), t.stripPitch()
	t.maximum, t.total, t.lse = grow(t.maximum, count), grow(t.total, count), grow(t.lse, count)
	size := elementSize[T]()
	for i := range t.strip.stretches {
		s := &t.strip.stretches[i]
		if t.simd != nil && s.keys > 0 {
			t.simd.softmax(unsafe.Pointer(&t.scores[s.item*pitch+s.low-t.low]), t.maskKeys(s.keys), unsafe.Pointer(&t.maximum[s.item]),
				unsafe.Pointer(&t.total[s.item]), s.items, 1, padded(s.keys)/8, (pitch+s.advance)*size, 0)
			continue
		}
		for r := s.item; r < s.item+s.items; r++ {
			row := t.scores[r*pitch+t.lo[r]-t.low:][:s.keys]
			top := T(math.Inf(-1))
			for _, v := range row {
				if !(v <= top) {
					top = v
				}
			}
			t.maximum[r] = top
			if math.IsInf(float64(top), -1) {
				top = 0
			}
			t.total[r] = exponential(row, top)
		}
	}
	if t.simd != nil {
		t.simd.finish(unsafe.Pointer(&t.lse[0]), unsafe.Pointer(&t.maximum[0]), unsafe.Pointer(&t.total[0]), count/8)
		return
	}
	finish(t.lse[:t.positions], t.maximum, t.total)
}
