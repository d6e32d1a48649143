// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// stream is rows of channels that the kernels ask for, two rows a block, while they
// compute: rows of heads-last tensors are too far apart for the processor to foresee
// them. Its layout is known to the generator.
type stream struct {
	row         core.Address
	step, lines int // bytes to the next row, cache lines of a row
}

// share is the part-th of parts shares of the streams.
func share(s []stream, part, parts int) []stream {
	return s[part*len(s)/parts : (part+1)*len(s)/parts]
}

// askFor lists what the rows of items from n1 on, and the columns that come into
// their windows, are made of.
func (t *tile[T]) askFor(n0, n1, rows int, columns bool) {
	b := &t.blocked
	b.ahead = b.ahead[:0]
	place := t.place
	d, dv := int(t.p.HeadDim), int(t.p.ValueDim)
	first, second := t.itemRoles()
	for i := range rows {
		t.place[0], t.place[1] = n0, n1+i
		if t.parts.scoreFirst {
			t.ask(t.ofHead(first, 0, d))
		}
		if t.parts.scoreSecond {
			t.ask(t.ofHead(second, 0, dv))
		}
		for _, role := range t.pass.outputs {
			if role != core.DRPB && t.tensors[role].given() && (!t.parts.scatter || role == core.DQuery) {
				t.ask(t.ofHead(role, 0, dv))
			}
		}
		if t.pass.kind == attnQuery {
			t.ask(t.ofHead(core.Out, 0, dv))
		}
	}
	t.place = place
	if columns {
		t.askForColumns(n1, rows)
	}
}

// askForColumns asks for the last rows of columns of the rows of items from n1 on.
func (t *tile[T]) askForColumns(n1, rows int) {
	r := &t.blocked.reach
	_, before, _ := t.span(1, max(n1-1, 0))
	_, hi, _ := t.span(1, n1+rows-1)
	first, second := t.columnRoles()
	for n := r.plane; n < r.planes; n++ {
		c := column{n0: n}
		for c.member = r.member; c.member < r.members; c.member++ {
			for c.n1 = before; c.n1 < hi; c.n1++ {
				t.askColumns(first, &c, int(t.p.HeadDim))
				t.askColumns(second, &c, int(t.p.ValueDim))
				if t.pass.kind.inverse() {
					t.askColumns(core.Out, &c, int(t.p.ValueDim))
				}
				if leaves := (column{n0: n, n1: c.n1 - t.blocking.ring}); t.parts.scatter && leaves.n1 >= 0 {
					t.askColumns(core.DKey, &leaves, int(t.p.HeadDim))
					t.askColumns(core.DValue, &leaves, int(t.p.ValueDim))
				}
			}
		}
	}
}

func (t *tile[T]) askColumns(role core.Role, c *column, channels int) {
	p, step := t.lane(role, c, t.columnHead(c))
	t.ask(source{p, step, channels, t.p.DType})
}

func (t *tile[T]) ask(s source) {
	t.blocked.ahead = append(t.blocked.ahead, stream{s.p, s.step, parted(s.channels*int(s.dtype.Size()), lineBytes)})
}

// aheadOf returns the address and the number of streams.
func aheadOf(s []stream) (unsafe.Pointer, int) {
	return unsafe.Pointer(unsafe.SliceData(s)), len(s)
}
