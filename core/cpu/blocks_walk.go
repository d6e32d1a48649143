// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// blockState is what a tile needs for items in blocks.
type blockState[T number] struct {
	blockPanel[T]
	blocks     []block
	runs       []blockRun
	groups     []place     // [vector]
	sources    []place     // [row of columns]
	offsets    []int       // [vector] bytes to the groups in use in score panels
	masks      [][2]uint32 // [vector][row of items] bits of the elements of the rows of columns that are met
	parts      []metPart
	met        []metRow
	reach      reach
	at         int  // elements to the sums of the present rows of items
	fresh      bool // the sums are not begun yet
	last       bool // they are complete with the present reach
	pitch      int  // elements of numbers from a row of items to the next
	item       int  // elements of items and sums from one to the next
	numbers    []T  // [lse, 1/sum of weights or delta][row of items][item]
	factors    []T  // scale and 1
	ahead      []stream
	bias       []T    // [query head of the key head][entry]
	biasOf     int    // key head that bias is of, or -1
	lo, hi     [2]int // [row of items] rows of columns that are met
	first, end [3]int // items of the task, by axis
}

func (t *tile[T]) beginBlocks() {
	t.sizeBlockPanel()
	t.blocked.biasOf, t.tokens = -1, false
	t.blocked.item = wholeVectors(t.blocking.depth)
}

// planBlocks makes the blocks of the tile.
func (t *tile[T]) planBlocks() {
	s, b := &t.blocking, &t.blocked
	t.from, t.to = t.low, t.high
	b.blocks, b.runs = grow(b.blocks, parted(t.positions, 2)), b.runs[:0]
	for i := range b.blocks {
		var from, to [2]int
		for j := range min(2, t.positions-2*i) {
			from[j], to[j] = t.lo[2*i+j]-t.from, t.hi[2*i+j]-t.from
		}
		if 2*i+1 == t.positions {
			from[1], to[1] = to[0], to[0]
		}
		b.blocks[i] = block{
			panel: from[0] * s.rows * float32Bytes, rows: from[0] * s.depth * float32Bytes,
			left: from[1] - from[0], both: to[0] - from[1], right: to[1] - to[0],
			masks: [2]uint32{laneBits(0, to[0]-from[0], s.rows), laneBits(from[1]-from[0], to[1]-from[0], s.rows)},
		}
		wide, last := max(parted((to[1]-from[0])*s.rows, blockLanes), 1), len(b.runs)-1
		if last < 0 || b.runs[last].wide != wide {
			b.runs = append(b.runs, blockRun{i, 0, wide})
			last++
		}
		b.runs[last].count++
	}
}

// blockColumn walks a tile of blocks down the slow axes.
func (t *tile[T]) blockColumn(from, to [3]int) {
	b := &t.blocked
	b.forget()
	b.first, b.end = from, to
	b.pitch = 2 * len(b.blocks)
	for n0 := from[0]; n0 < to[0]; n0++ {
		lo0, hi0, _ := t.span(0, n0)
		b.reach, b.fresh, b.last = reach{0, t.members(), lo0, hi0}, true, true
		if !t.blocking.slabs {
			t.blockSlab(n0, from[1], to[1])
			continue
		}
		for member := range t.members() {
			for plane := lo0; plane < hi0; plane++ {
				b.forget()
				b.reach = reach{member, member + 1, plane, plane + 1}
				b.fresh = member == 0 && plane == lo0
				b.last = member == t.members()-1 && plane == hi0-1
				t.blockSlab(n0, from[1], to[1])
			}
		}
	}
	if t.parts.scatter {
		for slot := range b.rowTags {
			t.storeColumn(slot)
		}
	}
}

// blockSlab takes what is in reach into the rows of items from first to end.
func (t *tile[T]) blockSlab(n0, first, end int) {
	b := &t.blocked
	size, pairs := 2*b.pitch*b.item, 1
	if t.blocking.slabs {
		pairs = parted(end-first, 2)
	}
	if t.parts.sumFirst {
		t.sumFirst = grow(t.sumFirst, pairs*size)
	}
	if t.parts.sumSecond {
		t.sumSecond = grow(t.sumSecond, pairs*size)
	}
	t.publishRows(n0, first, end)
	for n1, end, ok := t.left.Take(2); ok; n1, end, ok = t.left.Take(2) {
		if b.at = 0; t.blocking.slabs {
			b.at = (n1 - first) / 2 * size
		}
		t.meetRows(n1, min(2, end-n1))
		t.blockRows(n0, n1, end)
	}
}

// blockRows computes up to two rows of items from n1 on; end is the end of the rows.
func (t *tile[T]) blockRows(n0, n1, end int) {
	rows, b, member := min(2, end-n1), &t.blocked, t.member
	t.place[0] = n0
	t.packBlocks()
	t.items = t.positions
	members := 1
	if !t.pass.kind.inverse() {
		members = min(t.walk.member, t.group-member)
	}
	for i := range members {
		t.member = member + i
		t.loadBlockItems(n0, n1, rows)
		b.ahead = b.ahead[:0]
		if i < members-1 {
			t.member++
			t.askFor(n0, n1, rows, false)
		} else if n1+2 < end {
			t.member = member
			t.askFor(n0, n1+2, min(2, end-n1-2), true)
		}
		t.member = member + i
		t.computeBlocks(n0, n1, rows, i)
		if b.last {
			t.storeBlockItems(n0, n1, rows)
		}
	}
	t.member = member
}

// meetRows lists the groups of rows that up to two rows of items from n1 on meet.
func (t *tile[T]) meetRows(n1, rows int) {
	var lo, hi [2]int
	for i := range rows {
		lo[i], hi[i], _ = t.span(1, n1+i)
	}
	if rows == 1 {
		lo[1], hi[1] = hi[0], hi[0]
	}
	s, b := &t.blocking, &t.blocked
	b.lo, b.hi = lo, hi
	first := (lo[0] + s.phase) / s.step
	end, step := max(hi[0], hi[1])+s.phase, s.rows/s.step
	b.groups, b.sources = b.groups[:0], b.sources[:0]
	b.offsets, b.masks, b.parts, b.met = b.offsets[:0], b.masks[:0], b.parts[:0], b.met[:0]
	for member := b.reach.member; member < b.reach.members; member++ {
		for n0 := b.reach.plane; n0 < b.reach.planes; n0++ {
			plane := (member-b.reach.member)*s.planes + n0%s.planes
			for g, vectors := first, 0; g*s.step < end; g += step {
				b.groups = append(b.groups, place{n0, member, g, s.slot(plane, g)})
				if vectors++; vectors*s.rows >= partRows {
					t.meetPart(plane, vectors, lo, hi)
					vectors = 0
				}
				if (g+step)*s.step >= end && vectors > 0 {
					t.meetPart(plane, vectors, lo, hi)
				}
			}
		}
	}
	t.rowPitch = len(b.offsets) * s.wide * blockLanes
	size := 4 * len(b.blocks) * t.rowPitch
	t.scores = grow(t.scores, size)
	if t.pass.kind != attnOut {
		t.gradients = grow(t.gradients, size)
	}
}

// meetPart lists the rows of the last groups.
func (t *tile[T]) meetPart(plane, groups int, lo, hi [2]int) {
	s, b := &t.blocking, &t.blocked
	rowBytes, vector := s.rowPitch()*float32Bytes, s.wide*blockLanes
	part, from := metPart{first: len(b.met)}, len(b.offsets)
	last := b.groups[len(b.groups)-groups:]
	for i := range last {
		b.offsets = append(b.offsets, last[i].slot*s.width*s.rows*float32Bytes)
		var masks [2]uint32
		at := last[i].number*s.step - s.phase
		for i := range masks {
			masks[i] = repeatBits(laneBits(min(max(lo[i]-at, 0), s.rows), max(min(hi[i]-at, s.rows), 0), 1), s.rows)
		}
		b.masks = append(b.masks, masks)
	}
	for class, count := range [3]*int{&part.upper, &part.both, &part.lower} {
		for i := range last {
			for r := range s.rows {
				n := last[i].number*s.step - s.phase + r
				upper, lower := lo[0] <= n && n < hi[0], lo[1] <= n && n < hi[1]
				if upper != (class < 2) || lower != (class > 0) {
					continue
				}
				slot := s.rowSlot(plane, n)
				b.sources = append(b.sources, place{last[i].n0, last[i].member, n, slot})
				b.met = append(b.met, metRow{slot * rowBytes, ((from+i)*vector + r) * float32Bytes})
				*count++
			}
		}
	}
	b.parts = append(b.parts, part)
}

// loadBlockItems loads the channels of rows of items, those of the first product
// times scale, and what they need for gradients.
func (t *tile[T]) loadBlockItems(n0, n1, rows int) {
	b := &t.blocked
	size := b.pitch * b.item
	first, second := t.itemRoles()
	b.numbers = grow(b.numbers, 4*b.pitch)
	if t.parts.scoreFirst {
		t.first = grow(t.first, 2*size)
	}
	if t.parts.scoreSecond {
		t.second = grow(t.second, 2*size)
	}
	for i := range rows {
		t.place[0], t.place[1] = n0, n1+i
		if t.parts.scoreFirst {
			t.loadRows(t.first[i*size:], b.item, t.ofHead(first, 0, int(t.p.HeadDim)), t.positions, T(t.p.Scale))
		}
		if t.parts.scoreSecond {
			t.loadRows(t.second[i*size:], b.item, t.ofHead(second, 0, int(t.p.ValueDim)), t.positions, 1)
		}
		if t.pass.kind != attnQuery {
			continue
		}
		lse := t.ofHead(core.LSE, 0, 1)
		load(b.numbers[i*b.pitch:][:t.positions], lse.p, lse.step, t.p.DType.Accumulator())
		t.deltas(b.numbers[(2+i)*b.pitch:], 1, n0, n1+i, t.place[2], t.positions, t.itemHead(0))
	}
}

// computeBlocks takes the rows that rows of items from n1 on meet into their sums; nth is
// the number of the query head in its group.
func (t *tile[T]) computeBlocks(n0, n1, rows, nth int) {
	b := &t.blocked
	d, dv := int(t.p.HeadDim), int(t.p.ValueDim)
	products, done := 0, 0
	for _, wanted := range [6]bool{true, t.parts.scoreSecond, t.parts.sumFirst, t.parts.sumSecond, t.parts.scatter, t.parts.scatter} {
		if wanted {
			products++
		}
	}
	asked := func() []stream {
		done++
		return share(b.ahead, done-1, products)
	}
	t.scoreBlocks(t.scores, t.first, b.turned[0], d, asked())
	t.addBlockBias(n0, n1, rows)
	if t.parts.scoreSecond {
		t.scoreBlocks(t.gradients, t.second, b.turned[1], dv, asked())
	}
	for i := range b.runs {
		t.weighBlocks(&b.runs[i])
	}
	t.binBlockGradients(n0, n1, rows, nth)
	weights := t.scores // of the first channels
	if t.pass.kind != attnOut {
		weights = t.gradients
	}
	if t.parts.sumSecond {
		t.accumulateBlocks(t.sumSecond, t.scores, b.rows[1], dv, asked())
	}
	if t.parts.sumFirst {
		t.accumulateBlocks(t.sumFirst, weights, b.rows[0], d, asked())
	}
	if t.parts.scatter {
		t.eachBlockPart(t.simd.block.scatter, t.second, t.scores, b.given[1], dv, asked())
		t.eachBlockPart(t.simd.block.scatter, t.first, weights, b.given[0], d, asked())
	}
}

// weighBlocks turns scores into weights, and their gradients into those of scores.
func (t *tile[T]) weighBlocks(r *blockRun) {
	b, k := &t.blocked, t.simd.block
	blocks, masks, vectors := unsafe.Pointer(&b.blocks[r.first]), unsafe.Pointer(&b.masks[0]), len(b.offsets)
	scores, item := unsafe.Pointer(&t.scores[4*r.first*t.rowPitch]), t.rowPitch*float32Bytes
	step, row := t.blocking.wide*blockLanes*float32Bytes, b.pitch*float32Bytes
	lse, delta := unsafe.Pointer(&b.numbers[2*r.first]), unsafe.Pointer(&b.numbers[2*b.pitch+2*r.first])
	switch t.pass.kind {
	case attnOut:
		k.softmax(scores, blocks, masks, lse, r.count, vectors, r.wide, step, item, row)
	case attnQuery:
		gradients := unsafe.Pointer(&t.gradients[4*r.first*t.rowPitch])
		k.gradientItems(scores, gradients, blocks, masks, lse, delta, r.count, vectors, r.wide, step, item, row)
	default:
		gradients := unsafe.Pointer(&t.gradients[4*r.first*t.rowPitch])
		k.gradientLanes(scores, gradients, blocks, masks, unsafe.Pointer(&b.lse[0]), unsafe.Pointer(&b.delta[0]),
			unsafe.Pointer(&b.offsets[0]), r.count, vectors, r.wide, step, item)
	}
}

// scoreBlocks takes the inner products of all blocks with what they meet.
func (t *tile[T]) scoreBlocks(dst, items, turned []T, depth int, asked []stream) {
	s, b := &t.blocking, &t.blocked
	vectors, item := len(b.offsets), b.item*float32Bytes
	chunks := parted(vectors, blockVectors)
	chunk := parted(vectors, chunks)
	chunks = parted(vectors, chunk)
	for v := 0; v < vectors; v += chunk {
		ahead, streams := aheadOf(share(asked, v/chunk, chunks))
		for i := range b.runs {
			r, asks := &b.runs[i], streams
			for column := range r.wide {
				if column > 0 {
					asks = 0
				}
				to := 4*r.first*t.rowPitch + (v*s.wide+column)*blockLanes
				t.simd.block.score(unsafe.Pointer(&dst[to]), unsafe.Pointer(&items[2*r.first*b.item]),
					unsafe.Pointer(&turned[column*blockLanes]), unsafe.Pointer(&b.blocks[r.first]), unsafe.Pointer(&b.offsets[v]), ahead,
					r.count, depth, s.channelPitch()*float32Bytes, min(chunk, vectors-v),
					s.wide*blockLanes*float32Bytes, t.rowPitch*float32Bytes, item, b.pitch*item, asks)
			}
		}
	}
}

// accumulateBlocks sums up the rows that the blocks meet, times their weights.
func (t *tile[T]) accumulateBlocks(sums, weights, rows []T, channels int, asked []stream) {
	b := &t.blocked
	sums = sums[b.at:][:2*b.pitch*b.item]
	if b.fresh {
		clear(sums)
	}
	t.eachBlockPart(t.simd.block.accumulate, sums, weights, rows, channels, asked)
}

// eachBlockPart runs a kernel for the lanes that the blocks meet, part by part.
func (t *tile[T]) eachBlockPart(kernel laneKernel, vectors, weights, rows []T, channels int, asked []stream) {
	s, b := &t.blocking, &t.blocked
	item := b.item * float32Bytes
	for i := range b.parts {
		p := &b.parts[i]
		if p.upper+p.both+p.lower == 0 {
			continue
		}
		ahead, streams := aheadOf(share(asked, i, len(b.parts)))
		kernel(unsafe.Pointer(&vectors[0]), unsafe.Pointer(&weights[0]), unsafe.Pointer(&rows[0]),
			unsafe.Pointer(&b.blocks[0]), unsafe.Pointer(&b.met[p.first]), ahead, len(b.blocks), wholeVectors(channels),
			p.upper, p.both, p.lower, s.depth*float32Bytes, s.rows*float32Bytes, t.rowPitch*float32Bytes, item, b.pitch*item, streams)
	}
}

// storeBlockItems writes what was summed up for rows of items.
func (t *tile[T]) storeBlockItems(n0, n1, rows int) {
	b := &t.blocked
	b.factors = append(b.factors[:0], T(t.p.Scale), 1)
	scale, one := b.factors[:1], b.factors[1:]
	size := b.pitch * b.item
	for i := range rows {
		t.place[0], t.place[1] = n0, n1+i
		switch t.pass.kind {
		case attnOut:
			t.storeBlockLSE(i)
			t.storeBlockRow(core.Out, t.sumSecond[b.at+i*size:], int(t.p.ValueDim), b.numbers[(2+i)*b.pitch:], 1)
		case attnQuery:
			if t.parts.sumFirst {
				t.storeBlockRow(core.DQuery, t.sumFirst[b.at+i*size:], int(t.p.HeadDim), scale, 0)
			}
		default:
			if t.parts.sumFirst {
				t.storeBlockRow(core.DKey, t.sumFirst[b.at+i*size:], int(t.p.HeadDim), scale, 0)
			}
			if t.parts.sumSecond {
				t.storeBlockRow(core.DValue, t.sumSecond[b.at+i*size:], int(t.p.ValueDim), one, 0)
			}
		}
	}
}

func (t *tile[T]) storeBlockRow(role core.Role, sums []T, channels int, factors []T, step int) {
	if t.tensors[role].given() {
		t.storeRows(t.ofHead(role, 0, channels), sums, t.blocked.item, t.positions, factors, step)
	}
}

func (t *tile[T]) storeBlockLSE(i int) {
	if !t.tensors[core.LSE].given() {
		return
	}
	lse := t.ofHead(core.LSE, 0, 1)
	store(lse.p, lse.step, t.p.DType.Accumulator(), t.blocked.numbers[i*t.blocked.pitch:][:t.positions], 1)
}
