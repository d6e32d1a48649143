// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// blockState is what a tile needs for items in blocks.
type blockState[T number] struct {
	blockPanel[T]
	blocks   []block
	offsets  []int         // [vector] bytes to the groups in use in score panels
	masks    []uint32      // [row of items][vector] bits of the elements of the rows of columns that are met
	parts    []blockPart   // rows to be summed up, some at a time
	met      []blockRowMet // [row of columns]
	pitch    int           // elements from a row of items to the next
	channels int           // of sums, whole vectors
	numbers  []T           // [maximum, sum, 1/sum][row of items][item]
}

// blockRowMet is a row of columns that items meet: bytes to it in a row panel and in
// the weights of an item. Its layout is known to the generator.
type blockRowMet struct{ panel, weights int }

// blockPart is rows of columns in met, first those that only the first row of items
// meets, then those of both, then those of the second.
type blockPart struct{ first, upper, both, lower int }

// partRows is the number of rows of columns that blocks are summed up over before
// the next block's turn: their lanes stay in the first cache from block to block.
const partRows = 8

func (t *tile[T]) beginBlocks() {
	t.blocked.size(&t.blocking, int(t.p.HeadDim), int(t.p.ValueDim))
}

// planBlocks makes the blocks of the tile.
func (t *tile[T]) planBlocks() {
	s, b := &t.blocking, &t.blocked
	t.from, t.to = t.low, t.high
	lane := s.rows * float32Bytes
	b.blocks = grow(b.blocks, parted(t.positions, 2))
	for i := range b.blocks {
		var from, to [2]int
		for j := range min(2, t.positions-2*i) {
			from[j], to[j] = t.lo[2*i+j]-t.from, t.hi[2*i+j]-t.from
		}
		if 2*i+1 == t.positions {
			from[1], to[1] = to[0], to[0]
		}
		b.blocks[i] = block{
			panel: from[0] * lane, rows: from[0] * padded(int(t.p.ValueDim)) * float32Bytes,
			left: from[1] - from[0], both: to[0] - from[1], right: to[1] - to[0],
			masks: [2]uint32{laneBits(0, to[0]-from[0], s.rows), laneBits(from[1]-from[0], to[1]-from[0], s.rows)},
		}
	}
}

// blockColumn walks a tile of blocks down the slow axes.
func (t *tile[T]) blockColumn(from, to [3]int) {
	for n0 := from[0]; n0 < to[0]; n0++ {
		t.blocked.forget()
		for n1 := from[1]; n1 < to[1]; n1 += 2 {
			t.blockRow(n0, n1, min(2, to[1]-n1))
		}
	}
}

// laneBits has the bits of the elements of some lanes, rows elements each.
func laneBits(from, to, rows int) uint32 {
	return uint32(uint64(1)<<(to*rows) - uint64(1)<<(from*rows))
}

// blockRow computes up to two rows of items from n1 on.
func (t *tile[T]) blockRow(n0, n1, rows int) {
	lo0, hi0, _ := t.span(0, n0)
	var lo, hi [2]int
	for i := range rows {
		lo[i], hi[i], _ = t.span(1, n1+i)
	}
	if rows == 1 {
		lo[1], hi[1] = hi[0], hi[0]
	}
	t.meetRows(lo0, hi0, lo, hi)
	b := &t.blocked
	even := (t.positions + 1) &^ 1
	d, dv := padded(int(t.p.HeadDim)), wholeVectors(int(t.p.ValueDim))
	b.channels, b.pitch = dv, even
	t.first = grow(t.first, 2*even*d)
	t.sumSecond = grow(t.sumSecond, 2*even*dv)
	b.numbers = grow(b.numbers, 6*even)
	t.items = t.positions
	member := t.member
	for range min(t.walk.member, t.group-member) {
		for i := range rows {
			t.place[0], t.place[1] = n0, n1+i
			t.loadRows(t.first[i*even*d:], d, t.ofHead(core.Query, 0, int(t.p.HeadDim)), t.positions, T(t.p.Scale))
		}
		clear(t.sumSecond)
		t.scoreBlocks(t.first, d, int(t.p.HeadDim))
		t.simd.block.softmax(unsafe.Pointer(&t.scores[0]), unsafe.Pointer(&b.blocks[0]), unsafe.Pointer(&b.masks[0]),
			unsafe.Pointer(&b.numbers[0]), len(b.blocks), len(b.offsets), t.blocking.wide, t.rowPitch*float32Bytes, even*float32Bytes)
		t.accumulateBlocks(t.sumSecond, dv, int(t.p.ValueDim))
		for i := range rows {
			t.place[0], t.place[1] = n0, n1+i
			t.storeBlockRow(i)
		}
		t.member++
	}
	t.member = member
}

// meetRows packs what is not packed yet of the groups of rows that the items meet,
// and lists them.
func (t *tile[T]) meetRows(lo0, hi0 int, lo, hi [2]int) {
	s, b := &t.blocking, &t.blocked
	first := (lo[0] + s.phase) / s.rows
	end := (max(hi[0], hi[1])-1+s.phase)/s.rows + 1
	vectors := (hi0 - lo0) * (end - first)
	b.offsets, b.parts, b.met = b.offsets[:0], b.parts[:0], b.met[:0]
	b.masks = grow(b.masks, 2*vectors)
	t.rowPitch = vectors * s.wide * blockLanes
	t.scores = grow(t.scores, 4*len(b.blocks)*t.rowPitch)
	for n0 := lo0; n0 < hi0; n0++ {
		for from := first; from < end; from += max(partRows/s.rows, 1) {
			to := min(from+max(partRows/s.rows, 1), end)
			t.meetPart(n0, n0-lo0, from, to, lo, hi, vectors)
		}
	}
}

func (t *tile[T]) meetPart(n0, plane, from, to int, lo, hi [2]int, vectors int) {
	s, b := &t.blocking, &t.blocked
	rowBytes := s.rowPitch(int(t.p.ValueDim)) * float32Bytes
	part := blockPart{first: len(b.met)}
	at := len(b.offsets)
	for g := from; g < to; g++ {
		slot := plane*s.groups + g%s.groups
		if b.tags[slot] != g {
			t.packGroup(n0, g, slot)
			b.tags[slot] = g
		}
		v := len(b.offsets)
		b.offsets = append(b.offsets, slot*s.width*s.rows*float32Bytes)
		for i := range 2 {
			bits := laneBits(max(lo[i]+s.phase-g*s.rows, 0), max(min(hi[i]+s.phase-g*s.rows, s.rows), 0), 1)
			b.masks[i*vectors+v] = repeatBits(bits, s.rows)
		}
	}
	for class := range 3 {
		for v := at; v < len(b.offsets); v++ {
			g := from + v - at
			for r := range s.rows {
				n := g*s.rows - s.phase + r
				upper, lower := lo[0] <= n && n < hi[0], lo[1] <= n && n < hi[1]
				switch {
				case class == 0 && upper && !lower:
					part.upper++
				case class == 1 && upper && lower:
					part.both++
				case class == 2 && lower && !upper:
					part.lower++
				default:
					continue
				}
				slot := plane*s.groups + g%s.groups
				b.met = append(b.met, blockRowMet{(slot*s.rows + r) * rowBytes, (v*s.wide*blockLanes + r) * float32Bytes})
			}
		}
	}
	b.parts = append(b.parts, part)
}

// repeatBits repeats a number of bits over all 32.
func repeatBits(bits uint32, count int) uint32 {
	for ; count < 32; count *= 2 {
		bits |= bits << count
	}
	return bits
}

// scoreBlocks takes the inner products of all blocks with what they meet.
func (t *tile[T]) scoreBlocks(items []T, item, depth int) {
	s, b := &t.blocking, &t.blocked
	vectors := len(b.offsets)
	chunk := parted(vectors, parted(vectors, blockVectors))
	for v := 0; v < vectors; v += chunk {
		for column := range s.wide {
			t.simd.block.score(unsafe.Pointer(&t.scores[(v*s.wide+column)*blockLanes]), unsafe.Pointer(&items[0]),
				unsafe.Pointer(&b.turned[column*blockLanes]), unsafe.Pointer(&b.blocks[0]), unsafe.Pointer(&b.offsets[v]),
				len(b.blocks), depth, s.channelPitch()*float32Bytes, min(chunk, vectors-v),
				s.wide*blockLanes*float32Bytes, t.rowPitch*float32Bytes, item*float32Bytes, b.pitch*item*float32Bytes)
		}
	}
}

// accumulateBlocks adds the rows that the blocks meet, times their weights.
func (t *tile[T]) accumulateBlocks(sums []T, item, channels int) {
	b := &t.blocked
	for i := range b.parts {
		p := &b.parts[i]
		if p.upper+p.both+p.lower == 0 {
			continue
		}
		t.simd.block.accumulate(unsafe.Pointer(&sums[0]), unsafe.Pointer(&t.scores[0]), unsafe.Pointer(&b.rows[0]),
			unsafe.Pointer(&b.blocks[0]), unsafe.Pointer(&b.met[p.first]), len(b.blocks), wholeVectors(channels),
			p.upper, p.both, p.lower, padded(channels)*float32Bytes, t.blocking.rows*float32Bytes,
			t.rowPitch*float32Bytes, item*float32Bytes, b.pitch*item*float32Bytes)
	}
}

// storeBlockRow writes what was summed up for a row of items.
func (t *tile[T]) storeBlockRow(i int) {
	b, channels := &t.blocked, int(t.p.ValueDim)
	of := func(kind int) []T { return b.numbers[(2*kind+i)*b.pitch:] }
	if t.tensors[core.LSE].given() {
		tops, totals := of(0), of(1)
		for r := range t.items {
			t.lse = append(t.lse[:0], tops[r]+logarithm(totals[r]))
			store(t.item(core.LSE, r), 0, t.p.DType.Accumulator(), t.lse, 1)
		}
	}
	t.storeRows(t.ofHead(core.Out, 0, channels), t.sumSecond[i*b.pitch*b.channels:], b.channels, t.positions, of(2), 1)
}
