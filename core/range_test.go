// SPDX-License-Identifier: MIT

package core

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// union enumerates the keys that queries first to last see and returns the bounds of
// their union.
func union(a *Axis, first, last int64) (lo, end int64) {
	lo = a.Length
	for q := first; q <= last; q++ {
		keys := neighbors(a, q)
		lo, end = min(lo, keys[0]), max(end, keys[len(keys)-1]+1)
	}
	return lo, end
}

// Reach is the union of the windows, and names queries that see its first and last
// key.
func TestReachIsTheUnionOfWindows(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 20000 {
		a := randomAxis(r, 60)
		first := r.Int64N(a.Length)
		last := first + r.Int64N(a.Length-first)
		got := a.Reach(first, last)
		lo, end := union(&a, first, last)
		require.Equal(t, [2]int64{lo, end}, [2]int64{got.First, got.End}, "%+v queries %d to %d", a, first, last)
		require.True(t, first <= got.AtFirst && got.AtFirst <= last && first <= got.AtLast && got.AtLast <= last)
		require.Contains(t, neighbors(&a, got.AtFirst), got.First)
		require.Contains(t, neighbors(&a, got.AtLast), got.End-1)
	}
}

// A problem is refused if, and only if, a key that some query sees is not held.
func TestMissingKeysAreRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	refused := 0
	for range 20000 {
		a := randomAxis(r, 40)
		a.QueryFirst = r.Int64N((a.Length-1)/a.QueryStep+1) * a.QueryStep
		a.QueryCount = r.Int64N(a.Length - a.QueryFirst + 1)
		a.KeyFirst = r.Int64N(a.Length)
		if r.IntN(2) == 0 {
			a.KeyFirst = max(0, a.QueryFirst-r.Int64N(a.Kernel*a.Dilation))
		}
		a.KeyCount = r.Int64N(a.Length - a.KeyFirst + 1)
		p := Problem{Op: AttnForward, DType: Float32, Rank: 1, Batch: 1, Heads: 1, HeadDim: 4, Axes: [3]Axis{a}}
		_, err := p.Normalize()
		lo, end := union(&a, a.QueryFirst, a.QueryFirst+(a.Outputs()-1)*a.QueryStep)
		if a.KeyFirst <= lo && end <= a.KeyEnd() {
			require.NoError(t, err, "%+v", a)
			continue
		}
		refused++
		require.ErrorContains(t, err, "which is not held", "%+v", a)
	}
	require.Greater(t, refused, 1000)
	require.Less(t, refused, 19000)
}

// A range that covers the whole axis normalizes to Range{}, so that plans are equal.
func TestWholeRangesAreNone(t *testing.T) {
	a := Axis{Length: 8, Kernel: 3, Range: Range{QueryCount: 8, KeyCount: 8}}
	require.NoError(t, a.Normalize(0))
	require.Equal(t, Range{}, a.Range)
	require.False(t, a.Ranged())
}

// For ragged batches, the keys that must be held depend on each sample's size.
func TestMissingKeysOfASample(t *testing.T) {
	p := Problem{
		Op: AttnForward, DType: Float32, Rank: 2, Batch: 2, Heads: 1, HeadDim: 4, Ragged: true,
		Axes: [3]Axis{{Length: 3, Kernel: 1}, {Length: 12, Kernel: 5, Range: Range{QueryFirst: 6, QueryCount: 3, KeyFirst: 4}}},
	}
	n, err := p.Normalize()
	require.NoError(t, err)
	b := Buffers{Threads: 1, Sizes: []int64{3, 12, 3, 6}} // a sample that ends before the range needs nothing
	require.NoError(t, n.acceptSizes(&b))
	before := n.Axes[2].WithLength(5)
	require.Zero(t, before.Queries(), "of a sample that ends before the range begins")
	b.Sizes[3] = 8 // its last window is 3 to 7
	require.ErrorContains(t, n.acceptSizes(&b),
		"in sample 1 of size 8, query 6 on axis 1 sees key 3, which is not held: keys 4 to 7 are (want key_first <= 3")
}

func TestBadRanges(t *testing.T) {
	for _, c := range []struct {
		given Range
		want  string
	}{
		{Range{QueryFirst: -1}, "query_first is -1 on axis 1 (want 0 to length - 1, 7)"},
		{Range{QueryFirst: 8}, "query_first is 8 on axis 1 (want 0 to length - 1, 7)"},
		{Range{KeyFirst: 8}, "key_first is 8 on axis 1 (want 0 to length - 1, 7)"},
		{Range{QueryCount: -1}, "query_count is -1 on axis 1 (want >= 0)"},
		{Range{KeyFirst: 3, KeyCount: 6}, "key_first 3 + key_count 6 exceeds length 8 on axis 1"},
		{Range{QueryFirst: 7, QueryCount: math.MaxInt64}, "query_first 7 + query_count 9223372036854775807 exceeds length 8"},
		{Range{QueryFirst: 3}, "query_first is 3 on axis 1 (want a multiple of query_step, 2)"},
	} {
		a := Axis{Length: 8, Kernel: 3, QueryStep: 2, Range: c.given}
		require.ErrorContains(t, a.Normalize(1), c.want)
	}
}

// Each axis and each end makes a problem one of ranges.
func TestRangedOfAnyAxis(t *testing.T) {
	require.False(t, (&Problem{}).Ranged())
	for axis := range 3 {
		for _, r := range []Range{{QueryFirst: 1}, {QueryCount: 1}, {KeyFirst: 1}, {KeyCount: 1}} {
			p := Problem{}
			p.Axes[axis].Range = r
			require.True(t, p.Ranged(), "axis %d, %+v", axis, r)
		}
	}
}

// The longest sample that there may be is no sample of the batch.
func TestKeysOfSamplesThatAreShorter(t *testing.T) {
	p := Problem{
		Op: AttnForward, DType: Float32, Rank: 1, Batch: 2, Heads: 1, HeadDim: 4, Ragged: true,
		Axes: [3]Axis{{Length: 12, Kernel: 5, Range: Range{KeyCount: 9}}},
	}
	n, err := p.Normalize()
	require.NoError(t, err)
	require.NoError(t, n.acceptSizes(&Buffers{Sizes: []int64{9, 7}}))
	require.ErrorContains(t, n.acceptSizes(&Buffers{Sizes: []int64{9, 10}}), "in sample 1 of size 10, query")
}
