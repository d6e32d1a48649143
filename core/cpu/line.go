// SPDX-License-Identifier: MIT

package cpu

import "github.com/natten-mps/natten-mps/core"

// ruler gives the place of the n-th member of an evenly spaced set.
type ruler struct{ first, step int }

func (r ruler) at(n int) int { return r.first + n*r.step }

// line is one axis of one dilation group: its keys, the queries of it that are
// computed, and which of them meet.
type line struct {
	axis     core.Axis
	keys     int
	queries  int
	key      ruler // index of a key
	query    ruler // index of a query
	output   ruler // index of its output
	position ruler // of the query in the dilation group
	all      bool  // every query meets every key: additional tokens
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// newLine describes the dilation group of the given residue.
func newLine(a core.Axis, residue int64) line {
	group := a.GroupLength(residue)
	l := line{axis: a, keys: int(group), key: ruler{int(residue), int(a.Dilation)}}
	period := a.QueryStep / gcd(a.QueryStep, a.Dilation)
	p := int64(0)
	for p < period && (residue+p*a.Dilation)%a.QueryStep != 0 {
		p++
	}
	if p == period || p >= group {
		return l
	}
	first, step := residue+p*a.Dilation, period*a.Dilation
	l.queries = int((group-p-1)/period + 1)
	l.query = ruler{int(first), int(step)}
	l.output = ruler{int(first / a.QueryStep), int(step / a.QueryStep)}
	l.position = ruler{int(p), int(period)}
	return l
}

// tokenLine is an axis on which each of n keys is met by every query of a.
func tokenLine(a core.Axis, n int) line {
	return line{
		axis: a, keys: n, key: ruler{0, 1}, queries: int(a.Outputs()),
		query: ruler{0, int(a.QueryStep)}, output: ruler{0, 1}, position: ruler{0, int(a.QueryStep)}, all: true,
	}
}

// keysOf returns the keys lo <= n < hi that the query meets, and the key, maybe
// an absent one, of its first window slot.
func (l *line) keysOf(query int) (lo, hi, start int) {
	if l.all {
		return 0, l.keys, 0
	}
	w := l.axis.Window(int64(l.query.at(query)))
	return int(w.Lo), int(w.Hi), int(w.Start)
}

// queriesOf returns the queries lo <= n < hi that meet the key.
func (l *line) queriesOf(key int) (lo, hi int) {
	if l.all {
		return 0, l.queries
	}
	q := l.axis.Inverse(int64(l.key.at(key)))
	if q.Count == 0 {
		return 0, 0
	}
	lo = (int(q.First) - l.output.first) / l.output.step
	return lo, lo + int(q.Count)
}
