// SPDX-License-Identifier: MIT

package flash

// band says which keys of a row the items of a tile meet: an interval of keys per position, and
// neither end of it decreases from position to position. A band examines one span of keys at a
// time, so its memory does not grow with the row.
type band struct {
	lo, hi []int // [position] keys lo <= n < hi
	items  int
	each   int // items per position
	lanes  int // items per vector
	most   int // maximum number of vectors per group
	spans  int // number of spans, of up to piece keys each

	number   int // index of the current span, or -1
	from, to int // its keys, from <= n < to
	groups   []group
	met      []interval // [key of the span] positions that meet it
}

// interval is the positions from <= p < to.
type interval struct{ from, to int }

// group is some vectors of items and the range of keys of the span that any of the items meets.
type group struct {
	first, vectors int  // the first vector and the number of vectors
	from, to       int  // keys from <= n < to
	whole          bool // every item meets all these keys
}

// set sets the intervals of the positions. Empty intervals may have any value; set moves them so
// that the ends never decrease.
func (b *band) set(lo, hi []int) {
	b.lo, b.hi = append(b.lo[:0], lo...), append(b.hi[:0], hi...)
	last := 0
	for i := range b.lo {
		if b.lo[i] >= b.hi[i] {
			b.lo[i], b.hi[i] = last, last
		}
		last = b.hi[i]
	}
	for i := len(b.lo) - 2; i >= 0; i-- { // leading empty intervals
		if b.hi[i] == 0 {
			b.lo[i], b.hi[i] = b.lo[i+1], b.lo[i+1]
		}
	}
}

// all makes every position meet all keys.
func (b *band) all(positions, keys int) {
	b.lo, b.hi = b.lo[:0], b.hi[:0]
	for range positions {
		b.lo, b.hi = append(b.lo, 0), append(b.hi, keys)
	}
}

// lay divides the keys into spans. There are each items per position, and groups have up to
// most vectors of lanes items.
func (b *band) lay(each, lanes, most int) {
	b.each, b.lanes, b.most, b.items = each, lanes, most, len(b.lo)*each
	low, high := b.keys()
	b.spans, b.number = (high-low+piece-1)/piece, -1
}

// keys returns the range [low, high) of keys that any item meets.
func (b *band) keys() (low, high int) { return b.lo[0], b.hi[len(b.hi)-1] }

// take makes a span the current one. Vectors join a group until its range of keys is 1.3 times
// that of its first vector: more would compute mostly masked products, fewer would load keys more often.
func (b *band) take(number int) {
	if b.number == number {
		return
	}
	low, high := b.keys()
	b.number, b.from, b.to = number, low+(high-low)*number/b.spans, low+(high-low)*(number+1)/b.spans
	b.groups, b.met = b.groups[:0], b.met[:0]
	for first := 0; first*b.lanes < b.items; {
		g := b.group(first, 1)
		least := g.to - g.from
		for g.vectors < b.most && (first+g.vectors)*b.lanes < b.items {
			wider := b.group(first, g.vectors+1)
			if 10*(wider.to-wider.from) > 13*least {
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

// meeting returns the positions that meet a key of the current span.
func (b *band) meeting(key int) interval { return b.met[key-b.from] }
