// SPDX-License-Identifier: MIT

package cpu

// clip is what an item meets of the packed columns, and where its weights are:
// those of a slot and lane are at scores[item*rowPitch+slot*width+lane-base]. The
// items of a pair have the same base and width, which cover the lanes of both.
type clip struct {
	from, to    int // lanes that the item meets
	base, width int // width is 4 or a multiple of 8, or 0 if the pair meets nothing
}

// findClips computes the clips for the packed columns.
func (t *tile[T]) findClips() {
	key := [4]int{t.from, t.to, 0, t.items}
	if t.tokens {
		key[2] = 1
	}
	if t.narrow = len(t.columns) > 1 && t.pass.kind != attnKey; t.narrow {
		key[2] += 2
	}
	if key == t.known {
		return
	}
	t.known = key
	t.clips = grow(t.clips, t.items)
	t.masks = grow(t.masks, t.items*t.current.width)
	for r := range t.items {
		t.clips[r].from, t.clips[r].to = t.clipped(r)
	}
	for r := 0; r < t.items; r += 2 {
		last := min(r+1, t.items-1)
		t.join(&t.clips[r], &t.clips[last])
		for i := r; i <= last; i++ {
			t.mask(i)
		}
	}
}

// clipped returns the lanes that item r meets; from equals to if it meets none.
func (t *tile[T]) clipped(r int) (from, to int) {
	if t.tokens {
		return 0, t.to - t.from
	}
	i := t.position(r)
	from, to = max(t.lo[i], t.from)-t.from, min(t.hi[i], t.to)-t.from
	if from >= to {
		return 0, 0
	}
	return from, to
}

// join gives the items of a pair a common base and width.
func (t *tile[T]) join(a, b *clip) {
	from, to := min(a.from, b.from), max(a.to, b.to)
	switch {
	case a.from == a.to:
		from, to = b.from, b.to
	case b.from == b.to:
		from, to = a.from, a.to
	}
	width := padded(to - from)
	if to-from <= 4 && to > from && t.narrow {
		width = 4
	}
	a.base, a.width = from, width
	b.base, b.width = from, width
}

// mask writes the masks of item r; those of a width of 4 are there twice.
func (t *tile[T]) mask(r int) {
	c := &t.clips[r]
	masks := t.masks[r*t.current.width:][:max(padded(c.width), 0)]
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

// lanes returns the lanes that item r meets of a column, in scores or gradients.
func (t *tile[T]) lanes(of []T, r int, c *column) []T {
	k := &t.clips[r]
	at := r*t.rowPitch + c.slot*k.width + k.from - k.base
	return of[at : at+k.to-k.from]
}

// vectors returns how many slots of how many vectors of 8 lanes hold the weights
// of a segment.
func (c *clip) vectors(s segment) (slots, columns int) {
	if c.width == 4 {
		return (s.count + 1) / 2, 1
	}
	return s.count, c.width / 8
}
