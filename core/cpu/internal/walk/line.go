// SPDX-License-Identifier: MIT

package walk

import (
	"math/bits"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
)

// Progression is an evenly spaced set of numbers.
type Progression struct{ First, Step int }

// At is the n-th of them.
func (p Progression) At(n int) int { return p.First + n*p.Step }

// Line is one axis of one dilation group: its keys, its computed queries, and which of them
// meet. Indices refer to the tensors, which begin where the ranges of the axis begin.
type Line struct {
	Keys, Queries int
	Key           Progression // index of a key
	Query         Progression // index of a query
	Output        Progression // index of a query's output
	Position      Progression // position of a query in the dilation group
	axis          core.Axis
	firstKey      int  // position of the first key in the dilation group
	all           bool // every query meets every key (additional tokens)
}

// NewLine describes the dilation group with the given residue. Its first key has the index
// residue, and its first query is the first position of the group at which a query is
// computed. On an axis with ranges the keys extend from the first to the last one that a query
// in the range sees; there are none if the group has no query in the range.
func NewLine(a core.Axis, residue int64) Line {
	group := a.GroupLength(residue)
	l := Line{axis: a, Keys: int(group), Key: Progression{int(residue), int(a.Dilation)}}
	period := a.Period()
	p, any := firstComputed(&a, residue)
	if a.Ranged() {
		l.Keys, l.Key = 0, Progression{0, int(a.Dilation)}
		p += kern.CeilDiv(max(positionsBefore(&a, residue, a.QueryFirst)-p, 0), period) * period
		group = positionsBefore(&a, residue, a.QueryEnd())
	}
	if !any || p >= group {
		return l
	}
	first, step := residue+p*a.Dilation-a.QueryFirst, period*a.Dilation
	l.Queries = int((group-p-1)/period + 1)
	l.Query = Progression{int(first), int(step)}
	l.Output = Progression{int(first / a.QueryStep), int(step / a.QueryStep)}
	l.Position = Progression{int(p), int(period)}
	if a.Ranged() {
		first, _, _ := l.KeysOf(0)
		_, end, _ := l.KeysOf(l.Queries - 1)
		l.Keys, l.firstKey = end-first, first
		l.Key.First = int(residue + int64(first)*a.Dilation - a.KeyFirst)
	}
	return l
}

// positionsBefore is the number of positions of a dilation group before an index.
func positionsBefore(a *core.Axis, residue, index int64) int64 {
	return kern.CeilDiv(max(index-residue, 0), a.Dilation)
}

// firstComputed returns the first position p of a dilation group at which a query is
// computed: the smallest p >= 0 for which residue + p*dilation is a multiple of query_step. It
// may lie past the end of the group. There is no such p unless residue is a multiple of
// gcd(dilation, query_step).
func firstComputed(a *core.Axis, residue int64) (p int64, any bool) {
	period := a.Period() // query_step / gcd
	gcd := a.QueryStep / period
	if residue%gcd != 0 {
		return 0, false
	}
	// p = -residue/gcd divided by dilation/gcd, modulo period.
	hi, lo := bits.Mul64(uint64((period-residue/gcd%period)%period), uint64(inverse(a.Dilation/gcd%period, period)))
	_, rest := bits.Div64(hi, lo, uint64(period))
	return int64(rest), true
}

// inverse returns the x with 0 <= x < m and a*x = 1 modulo m, by the extended Euclidean
// algorithm. a and m must be coprime.
func inverse(a, m int64) int64 {
	r, rest, x, next := m, a, int64(0), int64(1)
	for rest != 0 {
		q := r / rest
		r, rest = rest, r-q*rest
		x, next = next, x-q*next
	}
	return (x%m + m) % m
}

// TokenLine returns a line on which every query of axis a meets all n keys.
func TokenLine(a core.Axis, n int) Line {
	return Line{
		axis: a, Keys: n, Key: Progression{0, 1}, Queries: int(a.Outputs()),
		Query: Progression{0, int(a.QueryStep)}, Output: Progression{0, 1}, Position: Progression{0, int(a.QueryStep)}, all: true,
	}
}

// KeysOf returns the keys [lo, hi) that the query meets, and the key of its first window slot,
// which may be masked or out of bounds.
func (l *Line) KeysOf(query int) (lo, hi, start int) {
	if l.all {
		return 0, l.Keys, 0
	}
	w := l.axis.Window(int64(l.Query.At(query)) + l.axis.QueryFirst)
	return int(w.Lo) - l.firstKey, int(w.Hi) - l.firstKey, int(w.Start) - l.firstKey
}

// QueriesOf returns the queries [lo, hi) that meet the key.
func (l *Line) QueriesOf(key int) (lo, hi int) {
	if l.all {
		return 0, l.Queries
	}
	q := l.axis.Inverse(int64(l.Key.At(key)) + l.axis.KeyFirst)
	if q.Count == 0 {
		return 0, 0
	}
	lo = (int(q.First-l.axis.QueryFirst/l.axis.QueryStep) - l.Output.First) / l.Output.Step
	lo, hi = max(lo, 0), min(lo+int(q.Count), l.Queries)
	if lo >= hi { // all of them are outside the range of queries
		return 0, 0
	}
	return lo, hi
}

// PositionOf is the position of a key in the dilation group.
func (l *Line) PositionOf(key int) int { return l.firstKey + key }

// Own is the key at a query's own position.
func (l *Line) Own(query int) int { return l.Position.At(query) - l.firstKey }
