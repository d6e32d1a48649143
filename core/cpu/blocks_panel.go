// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// blockPanel holds packed groups of rows of columns. What absent rows, unused lanes
// and unused channels hold is undefined.
type blockPanel[T number] struct {
	turned []T   // [channel][slot][lane][row of the group], to score with
	rows   []T   // [slot][row of the group][lane][padded channel], to sum up
	tags   []int // [slot] group along the ring that is packed, or -1
	loaded []T   // [row of the group][lane][padded channel] on the way to turned
	from   [blockLanes]unsafe.Pointer
}

func (b *blockPanel[T]) size(s *blocking, scored, summed int) {
	b.turned = grow(b.turned, s.channelPitch()*wholeVectors(scored)+2*blockLanes)
	b.rows = grow(b.rows, s.rowPitch(summed)*s.slots()*s.rows+wholeVectors(summed))
	b.tags = grow(b.tags, s.slots())
	b.forget()
}

func (b *blockPanel[T]) forget() {
	for i := range b.tags {
		b.tags[i] = -1
	}
}

// packGroup fills a slot with the columns of a group of rows in a plane.
func (t *tile[T]) packGroup(n0, group, slot int) {
	s, b := &t.blocking, &t.blocked
	first := group*s.rows - s.phase
	hi := min(first+s.rows, t.lines[1].keys)
	key, value := t.columnRoles()
	depth, lanes := padded(int(t.p.ValueDim)), t.to-t.from
	var keys [4]source
	for i := range s.rows {
		c := column{n0: n0, n1: min(max(first+i, 0), hi-1)}
		p, step := t.lane(key, &c, t.kvHead)
		keys[i] = t.turnable(source{p, step, int(t.p.HeadDim), t.p.DType}, i)
		if c.n1 == first+i {
			p, step = t.lane(value, &c, t.kvHead)
			row := b.rows[(slot*s.rows+i)*s.rowPitch(int(t.p.ValueDim)):]
			t.loadRows(row, depth, source{p, step, int(t.p.ValueDim), t.p.DType}, lanes, 1)
		}
	}
	t.turnGroup(b.turned[slot*s.width*s.rows:], keys[:s.rows])
}

// turnable returns the source of row i of a group as float32 with whole vectors of
// channels.
func (t *tile[T]) turnable(s source, i int) source {
	if s.dtype == core.Float32 && s.channels%blockLanes == 0 {
		return s
	}
	depth := padded(s.channels)
	size := t.blocking.width * depth
	t.blocked.loaded = grow(t.blocked.loaded, t.blocking.rows*size+blockLanes)
	row := t.blocked.loaded[i*size:]
	t.loadRows(row, depth, s, t.to-t.from, 1)
	return source{unsafe.Pointer(&row[0]), depth * float32Bytes, s.channels, core.Float32}
}

// turnGroup turns rows of a group into a slot. Lanes beyond the last repeat it.
func (t *tile[T]) turnGroup(dst []T, rows []source) {
	lanes, step := t.to-t.from, blockLanes/len(rows)
	channels, pitch := wholeVectors(rows[0].channels)/blockLanes, t.blocking.channelPitch()*float32Bytes
	from := &t.blocked.from
	for first := 0; first < lanes; first += step {
		for i := range from {
			r := &rows[i%len(rows)]
			from[i] = unsafe.Add(r.p, min(first+i/len(rows), lanes-1)*r.step)
		}
		t.simd.block.turn(unsafe.Pointer(&dst[first*len(rows)]), unsafe.Pointer(from), channels, pitch)
	}
}
