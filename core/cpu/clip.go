// SPDX-License-Identifier: MIT

package cpu

// clip is what an item meets of the packed columns, and where its weights are:
// those of a slot and lane are at scores[item*rowPitch+slot*width+lane-base]. The
// items of a pair have the same base and width, which cover the lanes of both.
type clip struct {
	from, to    int // lanes that the item meets
	base, width int // width is 4 or a multiple of 8, or 0 if the pair meets nothing
}

// scorePair is a pair of items for the score kernels; its layout is known to the
// generator.
type scorePair struct{ dst, item, panel int } // offsets dst and panel in bytes

// sumPair is a pair of items for the accumulate kernels; its layout is known to
// the generator.
type sumPair struct {
	item, weights, lane  int // weights in bytes
	only0, both, only1   int // lanes
	weightSkip, laneSkip int
}

// group is a sequence of items whose pairs have the same width.
type group struct {
	width           int
	item, items     int
	pairs, pairsEnd int // in scorePairs
	sums, sumsEnd   int // in sumPairs
}

// findClips computes the clips for the packed columns.
func (t *tile[T]) findClips() {
	key := [4]int{t.from, t.to, 0, t.items}
	if t.tokens {
		key[2] = 1
	}
	if t.narrow = len(t.columns) > 1 && t.pass.kind != attnKey && t.simd != nil && t.simd.scoreHalves != nil; t.narrow {
		key[2] += 2
	}
	if key == t.known {
		return
	}
	t.known = key
	t.rowPitch = t.current.slots*t.current.width + 8
	t.clips = grow(t.clips, t.items+1)
	t.masks = grow(t.masks, t.items*t.current.width)
	for r := range t.items {
		t.clips[r].from, t.clips[r].to = t.clipped(r)
	}
	t.clips[t.items] = clip{}
	t.groups, t.scorePairs, t.sumPairs = t.groups[:0], t.scorePairs[:0], t.sumPairs[:0]
	for r := 0; r < t.items; r += 2 {
		t.join(&t.clips[r], &t.clips[r+1])
		if t.simd == nil {
			continue
		}
		for i := r; i < min(r+2, t.items); i++ {
			t.mask(i)
		}
		t.pair(r)
	}
}

// pair adds the pair of items that begins with r to the groups.
func (t *tile[T]) pair(r int) {
	a, b := t.clips[r], t.clips[r+1]
	if a.width == 0 {
		return
	}
	last := len(t.groups) - 1
	if last < 0 || t.groups[last].width != a.width || t.groups[last].item+t.groups[last].items != r {
		t.groups = append(t.groups, group{width: a.width, item: r, pairs: len(t.scorePairs), sums: len(t.sumPairs)})
		last++
	}
	t.scorePairs = append(t.scorePairs, scorePair{r * t.rowPitch * float32Bytes, r, a.base * float32Bytes})
	if b.from == b.to || a.from == a.to || b.from >= a.to {
		t.addSums(r, a.from, a.to-a.from, 0, 0)
		t.addSums(r, b.from, 0, 0, b.to-b.from)
	} else {
		t.addSums(r, a.from, b.from-a.from, a.to-b.from, b.to-a.to)
	}
	g := &t.groups[last]
	g.items = min(r+2, t.items) - g.item
	g.pairsEnd, g.sumsEnd = len(t.scorePairs), len(t.sumPairs)
}

// addSums adds lanes of the pair of items that begins with r: from first on, only0
// lanes of the first item, then lanes of both, then only1 lanes of the second.
func (t *tile[T]) addSums(r, first, only0, both, only1 int) {
	c, lanes := &t.clips[r], only0+both+only1
	if lanes == 0 {
		return
	}
	t.sumPairs = append(t.sumPairs, sumPair{
		item: r, weights: (r*t.rowPitch + first - c.base) * float32Bytes, lane: first,
		only0: only0, both: both, only1: only1,
		weightSkip: (c.width - lanes) * float32Bytes, laneSkip: t.current.width - lanes,
	})
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
	masks := t.masks[r*t.current.width:][:padded(c.width)]
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
