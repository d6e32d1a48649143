// SPDX-License-Identifier: MIT

package flash

// band says which items of a tile meet which keys of a row: an interval of keys for each
// position, whose ends never decrease. It holds one span of keys at a time, so that long
// rows take no memory.
type band struct {
	lo, hi []int // [position] keys lo <= n < hi
	items  int
	each   int // items at a position
	lanes  int // of a vector
	most   int // vectors of a group
	spans  int // that the keys are cut into, of up to piece of them

	number   int // of the span in hand, or -1
	from, to int // its keys
	groups   []group
	met      []interval // [key of the span] positions that meet it
}

// interval is positions from <= p < to.
type interval struct{ from, to int }

// group is vectors of items and the keys of a span that any of them meets.
type group struct {
	first, vectors int // of vectors
	from, to       int // keys
	whole          bool
}

// set takes the intervals of the positions. An empty one may be anywhere.
func (b *band) set(lo, hi []int) {
	b.lo, b.hi = append(b.lo[:0], lo...), append(b.hi[:0], hi...)
	last := 0
	for i := range b.lo {
		if b.lo[i] >= b.hi[i] {
			b.lo[i], b.hi[i] = last, last
		}
		last = b.hi[i]
	}
	for i := len(b.lo) - 2; i >= 0; i-- { // empty ones in front
		if b.hi[i] == 0 {
			b.lo[i], b.hi[i] = b.lo[i+1], b.lo[i+1]
		}
	}
}

// all lets every position meet all of so many keys.
func (b *band) all(positions, keys int) {
	b.lo, b.hi = b.lo[:0], b.hi[:0]
	for range positions {
		b.lo, b.hi = append(b.lo, 0), append(b.hi, keys)
	}
}

// lay cuts the keys into spans for so many items at each position, which come in groups of
// up to most vectors of lanes.
func (b *band) lay(each, lanes, most int) {
	b.each, b.lanes, b.most, b.items = each, lanes, most, len(b.lo)*each
	low, high := b.keys()
	b.spans, b.number = (high-low+piece-1)/piece, -1
}

// keys are the first key that an item meets, and the one behind the last.
func (b *band) keys() (low, high int) { return b.lo[0], b.hi[len(b.hi)-1] }

// take takes a span in hand. Vectors are grouped while they meet much the same keys.
func (b *band) take(number int) {
	if b.number == number {
		return
	}
	low, high := b.keys()
	b.number, b.from, b.to = number, low+(high-low)*number/b.spans, low+(high-low)*(number+1)/b.spans
	b.groups, b.met = b.groups[:0], b.met[:0]
	for first := 0; first*b.lanes < b.items; {
		g := b.group(first, 1)
		for g.vectors < b.most && (first+g.vectors)*b.lanes < b.items {
			wider := b.group(first, g.vectors+1)
			if 5*(wider.to-wider.from) > 6*(g.to-g.from) {
				break
			}
			g = wider
		}
		first += g.vectors
		if g.from < g.to {
			b.groups = append(b.groups, g)
		}
	}
	x := interval{}
	for key := b.from; key < b.to; key++ {
		for b.hi[x.from] <= key {
			x.from++
		}
		for x.to < len(b.lo) && b.lo[x.to] <= key {
			x.to++
		}
		b.met = append(b.met, x)
	}
}

func (b *band) group(first, vectors int) group {
	from, end := first*b.lanes/b.each, (min((first+vectors)*b.lanes, b.items)+b.each-1)/b.each // positions
	g := group{first: first, vectors: vectors, from: max(b.lo[from], b.from), to: min(b.hi[end-1], b.to)}
	g.whole = b.lo[end-1] <= g.from && g.to <= b.hi[from]
	return g
}

// meeting returns the positions that meet a key of the span in hand.
func (b *band) meeting(key int) interval { return b.met[key-b.from] }
