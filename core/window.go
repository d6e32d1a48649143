// SPDX-License-Identifier: MIT

package core

// Axis is one axis of the token layout and the window rule along it. natten_mps_axis
// in the C header defines the rule.
type Axis struct {
	Length    int64
	Kernel    int64
	Dilation  int64
	Stride    int64 // number of queries that share a leader (generalized neighborhood attention)
	QueryStep int64 // one in QueryStep queries is computed
	Causal    bool
	MaskFirst bool // order of the slots of a causal window
	Range
}

// UnitAxis is the leading axis of problems with fewer than three axes: one query that
// sees one key.
var UnitAxis = Axis{Length: 1, Kernel: 1, Dilation: 1, Stride: 1, QueryStep: 1}

// Period returns the distance between computed queries within a dilation group, in
// positions of that group.
func (a *Axis) Period() int64 { return a.QueryStep / gcd(a.QueryStep, a.Dilation) }

// GroupLength returns the number of positions i < Length with i mod Dilation ==
// residue.
func (a *Axis) GroupLength(residue int64) int64 {
	if a.Dilation == 1 { // the common case needs no division
		return a.Length
	}
	return (a.Length - residue + a.Dilation - 1) / a.Dilation
}

// WithLength returns the same rule on an axis of another length.
func (a *Axis) WithLength(length int64) Axis {
	b := *a
	b.Length = length
	return b
}

// Window is what one query sees along one axis, in positions of the query's dilation
// group: keys Lo <= p < Hi, whose index on the axis is Residue + p*Dilation. Slot t of
// the window is position Start + t. Slots outside [Lo, Hi) are masked.
type Window struct {
	Residue  int64
	Position int64 // of the query
	Start    int64
	Lo, Hi   int64
}

// Window returns what the query at index query sees. The index counts all queries, not
// only those that are computed.
func (a *Axis) Window(query int64) Window {
	w := Window{Position: query}
	if a.Dilation > 1 {
		w.Residue, w.Position = query%a.Dilation, query/a.Dilation
	}
	group := a.GroupLength(w.Residue)
	first := w.Position
	if a.Stride > 1 {
		first -= w.Position % a.Stride
	}
	if a.Causal {
		leader := min(first+a.Stride-1, group-1)
		w.Start = leader - a.Kernel + 1
		w.Lo, w.Hi = max(w.Start, 0), w.Position+1
		if !a.MaskFirst {
			w.Start = w.Lo
		}
		return w
	}
	leader := min(first+a.Stride/2, group-1)
	w.Start = min(max(leader-a.Kernel/2, 0), group-a.Kernel)
	w.Lo, w.Hi = w.Start, w.Start+a.Kernel
	return w
}

// Queries is a set of output indices First + n*Step, 0 <= n < Count.
type Queries struct{ First, Step, Count int64 }

// Inverse returns the outputs, counted on the whole axis, whose queries see the key at
// index key. It is the exact transpose of Window. Within the key's dilation group
// those queries form an interval, because window starts never decrease; QueryStep
// keeps one in Period of them.
func (a *Axis) Inverse(key int64) Queries {
	residue, p := key%a.Dilation, key/a.Dilation
	first, last := a.seenBy(p, a.GroupLength(residue))
	if a.QueryStep == 1 {
		return Queries{residue + first*a.Dilation, a.Dilation, last - first + 1}
	}
	period := a.Period()
	end := min(last, first+period-1)
	for ; first <= end; first++ {
		if index := residue + first*a.Dilation; index%a.QueryStep == 0 {
			return Queries{
				First: index / a.QueryStep,
				Step:  period * a.Dilation / a.QueryStep,
				Count: (last-first)/period + 1,
			}
		}
	}
	return Queries{Step: 1}
}

// seenBy returns the first and last position of the queries, in a dilation group
// of the given length, that see the key at position p.
func (a *Axis) seenBy(p, group int64) (first, last int64) {
	stride, kernel := a.Stride, a.Kernel
	if a.Causal {
		last = group - 1
		if p+kernel-1 < last { // leader <= p+kernel-1
			last = (p+kernel)/stride*stride - 1
		}
		return p, last
	}
	left, center := kernel/2, stride/2
	last = group - 1
	if p < group-kernel { // leader <= p+left
		last = ((p+left-center)/stride+1)*stride - 1
	}
	if need := p - kernel + 1 + left; p >= kernel { // leader >= need
		first = (need - center + stride - 1) / stride * stride
	}
	return first, last
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
