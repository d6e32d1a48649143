// SPDX-License-Identifier: MIT

package core

// Range is the part of an axis that a problem computes, and the part whose keys it
// holds; see natten_mps_range of the C header. Positions are those of the whole axis. A
// count of 0 reaches to the end of the axis, so that Range{} is all of it; Normalize
// writes what reaches there so.
type Range struct {
	QueryFirst, QueryCount int64
	KeyFirst, KeyCount     int64
}

// rangeEnd is the position behind a range, on the axis of a sample too.
func rangeEnd(first, count, length int64) int64 {
	if count > 0 {
		length = min(length, first+count)
	}
	return max(first, length)
}

// QueryEnd is the position behind the last query of the range.
func (a *Axis) QueryEnd() int64 { return rangeEnd(a.QueryFirst, a.QueryCount, a.Length) }

// KeyEnd is the position behind the last key that is held.
func (a *Axis) KeyEnd() int64 { return rangeEnd(a.KeyFirst, a.KeyCount, a.Length) }

// Queries is the number of positions that query has.
func (a *Axis) Queries() int64 { return a.QueryEnd() - a.QueryFirst }

// Keys is the number of positions that key and value have.
func (a *Axis) Keys() int64 { return a.KeyEnd() - a.KeyFirst }

// Outputs is the number of queries that are computed.
func (a *Axis) Outputs() int64 { return (a.Queries() + a.QueryStep - 1) / a.QueryStep }

// Ranged reports whether the axis is not computed, or not held, as a whole.
func (a *Axis) Ranged() bool { return a.Range != Range{} }

// Ranged reports whether some axis is.
func (p *Problem) Ranged() bool {
	return p.Axes[0].Ranged() || p.Axes[1].Ranged() || p.Axes[2].Ranged()
}

// Reach is the interval of keys First <= position < End that queries see, and queries
// that see its first and its last key.
type Reach struct{ First, End, AtFirst, AtLast int64 }

// Reach returns what the queries at the positions first to last see. The window of a
// later query of a dilation group never begins or ends earlier, so that the first
// key is that of the first query of some group. Groups of one length have their
// windows at the same places, which leaves the lowest residue of those that begin in
// one row of the groups; and the last key likewise.
func (a *Axis) Reach(first, last int64) Reach {
	longer := a.Length % a.Dilation // residues below it have one position more
	r := Reach{AtFirst: first, AtLast: last}
	if q := first + modulo(0-first, a.Dilation); q <= last && a.firstKey(q) < a.firstKey(r.AtFirst) {
		r.AtFirst = q
	}
	if q := first + modulo(longer-first, a.Dilation); q <= last && a.firstKey(q) < a.firstKey(r.AtFirst) {
		r.AtFirst = q
	}
	if q := last - modulo(last+1, a.Dilation); q >= first && a.lastKey(q) > a.lastKey(r.AtLast) {
		r.AtLast = q
	}
	if q := last - modulo(last+1-longer, a.Dilation); q >= first && a.lastKey(q) > a.lastKey(r.AtLast) {
		r.AtLast = q
	}
	r.First, r.End = a.firstKey(r.AtFirst), a.lastKey(r.AtLast)+1
	return r
}

// RangeReach is what the queries of the range see that are computed, and those between
// them.
func (a *Axis) RangeReach() Reach {
	return a.Reach(a.QueryFirst, a.QueryFirst+(a.Outputs()-1)*a.QueryStep)
}

// firstKey is the first key that a query sees.
func (a *Axis) firstKey(query int64) int64 {
	w := a.Window(query)
	return w.Residue + w.Lo*a.Dilation
}

// lastKey is the last key that a query sees.
func (a *Axis) lastKey(query int64) int64 {
	w := a.Window(query)
	return w.Residue + (w.Hi-1)*a.Dilation
}

// modulo is the n with 0 <= n < m that differs from x by a multiple of m.
func modulo(x, m int64) int64 { return (x%m + m) % m }

// normalizeRange checks the ranges of a, whose other fields are in order. index is
// the place of the axis, for messages.
func (a *Axis) normalizeRange(index int) error {
	for _, r := range []struct {
		name         string
		first, count *int64
	}{{"query", &a.QueryFirst, &a.QueryCount}, {"key", &a.KeyFirst, &a.KeyCount}} {
		switch first, count := *r.first, *r.count; {
		case first < 0 || first >= a.Length:
			return invalid("%s_first is %d on axis %d (want 0 to length - 1, %d)", r.name, first, index, a.Length-1)
		case count < 0:
			return invalid("%s_count is %d on axis %d (want >= 0)", r.name, count, index)
		case count > a.Length-first:
			return invalid("%s_first %d + %s_count %d exceeds length %d on axis %d (want %s_first + %s_count <= length)",
				r.name, first, r.name, count, a.Length, index, r.name, r.name)
		case count == a.Length-first:
			*r.count = 0
		}
	}
	if a.QueryFirst%a.QueryStep != 0 {
		return invalid("query_first is %d on axis %d (want a multiple of query_step, %d)", a.QueryFirst, index, a.QueryStep)
	}
	return nil
}

// checkHeld refuses ranges of which a query sees a key that is not held. index is the
// place of the axis, for messages.
func (a *Axis) checkHeld(index int) error {
	if a.KeyFirst == 0 && a.KeyCount == 0 || a.Outputs() == 0 {
		return nil
	}
	query, key, r := int64(0), int64(0), a.RangeReach()
	switch {
	case r.First < a.KeyFirst:
		query, key = r.AtFirst, r.First
	case r.End > a.KeyEnd():
		query, key = r.AtLast, r.End-1
	default:
		return nil
	}
	return invalid("query %d on axis %d sees key %d, which is not held: keys %d to %d are (want key_first <= %d and key_first + key_count >= %d)",
		query, index, key, a.KeyFirst, a.KeyEnd()-1, r.First, r.End)
}
