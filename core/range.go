// SPDX-License-Identifier: MIT

package core

// Range selects which queries of an axis are computed and which of its keys are held
// in memory; see natten_mps_range in the C header. Positions are counted on the whole
// axis. A count of 0 extends to the end of the axis, so Range{} is the whole axis.
// Normalize replaces a count that reaches the end by 0.
type Range struct {
	QueryFirst, QueryCount int64
	KeyFirst, KeyCount     int64
}

// rangeEnd returns the position after a range on an axis, or on one sample of it, of
// the given length. The range is empty if the sample ends before first.
func rangeEnd(first, count, length int64) int64 {
	if count > 0 {
		length = min(length, first+count)
	}
	return max(first, length)
}

// QueryEnd returns the position after the last query of the range.
func (a *Axis) QueryEnd() int64 { return rangeEnd(a.QueryFirst, a.QueryCount, a.Length) }

// KeyEnd returns the position after the last key that is held.
func (a *Axis) KeyEnd() int64 { return rangeEnd(a.KeyFirst, a.KeyCount, a.Length) }

// Queries returns the length of the query tensor along the axis.
func (a *Axis) Queries() int64 { return a.QueryEnd() - a.QueryFirst }

// Keys returns the length of the key and value tensors along the axis.
func (a *Axis) Keys() int64 { return a.KeyEnd() - a.KeyFirst }

// Outputs returns the number of queries that are computed.
func (a *Axis) Outputs() int64 { return (a.Queries() + a.QueryStep - 1) / a.QueryStep }

// Ranged reports whether only part of the axis is computed or held.
func (a *Axis) Ranged() bool { return a.Range != Range{} }

// Ranged reports whether any axis is ranged.
func (p *Problem) Ranged() bool {
	return p.Axes[0].Ranged() || p.Axes[1].Ranged() || p.Axes[2].Ranged()
}

// Reach is the interval First <= position < End of keys that some queries see. AtFirst
// is a query that sees the first key of the interval, AtLast one that sees the last.
type Reach struct{ First, End, AtFirst, AtLast int64 }

// Reach returns what the queries at positions first to last see. Within a dilation
// group, windows never move backward from one query to the next, so the first key is
// seen by the first query of some group. Groups of equal length have their windows at
// the same group positions. Therefore, among the groups whose first query is at the
// same group position, only the one with the lowest residue matters. The same
// argument, reversed, gives the last key.
func (a *Axis) Reach(first, last int64) Reach {
	longer := a.Length % a.Dilation // groups with a smaller residue have one more position
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

// RangeReach returns what the computed queries of the range see, including the queries
// between them that a query step skips.
func (a *Axis) RangeReach() Reach {
	return a.Reach(a.QueryFirst, a.QueryFirst+(a.Outputs()-1)*a.QueryStep)
}

// firstKey returns the first key that a query sees.
func (a *Axis) firstKey(query int64) int64 {
	w := a.Window(query)
	return w.Residue + w.Lo*a.Dilation
}

// lastKey returns the last key that a query sees.
func (a *Axis) lastKey(query int64) int64 {
	w := a.Window(query)
	return w.Residue + (w.Hi-1)*a.Dilation
}

// modulo returns x mod m in the interval 0 <= n < m, for negative x, too.
func modulo(x, m int64) int64 { return (x%m + m) % m }

// normalizeRange checks the ranges of a, whose other fields have been checked. index
// is the number of the axis, for error messages.
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

// checkHeld refuses an axis on which a computed query sees a key that is not held.
// index is the number of the axis, for error messages.
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
