// SPDX-License-Identifier: MIT

package core

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// neighbors is a second implementation of the rule of natten_mps_axis, by
// enumeration.
func neighbors(a *Axis, query int64) []int64 {
	residue, g := query%a.Dilation, query/a.Dilation
	var group []int64
	for i := residue; i < a.Length; i += a.Dilation {
		group = append(group, i)
	}
	n := int64(len(group))
	lo, hi := int64(0), int64(0)
	if a.Causal {
		leader := min(g/a.Stride*a.Stride+a.Stride-1, n-1)
		lo, hi = max(leader-a.Kernel+1, 0), g+1
	} else {
		leader := min(g/a.Stride*a.Stride+a.Stride/2, n-1)
		lo = min(max(leader-a.Kernel/2, 0), n-a.Kernel)
		hi = lo + a.Kernel
	}
	return group[lo:hi]
}

func keysOf(a *Axis, query int64) []int64 {
	w := a.Window(query)
	var keys []int64
	for p := w.Lo; p < w.Hi; p++ {
		keys = append(keys, w.Residue+p*a.Dilation)
	}
	return keys
}

func checkAxis(t *testing.T, a Axis) {
	t.Helper()
	name := fmt.Sprintf("%+v", a)
	seen := map[int64][]int64{}
	for out := range a.Outputs() {
		query := out * a.QueryStep
		want := neighbors(&a, query)
		require.Equal(t, want, keysOf(&a, query), "%s query %d", name, query)
		require.Contains(t, want, query, "%s: a query sees itself", name)
		w := a.Window(query)
		require.LessOrEqual(t, w.Start, w.Lo, name)
		require.LessOrEqual(t, w.Hi, w.Start+a.Kernel, name)
		for _, key := range want {
			seen[key] = append(seen[key], out)
		}
	}
	for key := range a.Length {
		var got []int64
		q := a.Inverse(key)
		for n := range q.Count {
			got = append(got, q.First+n*q.Step)
		}
		require.Equal(t, seen[key], got, "%s inverse of key %d", name, key)
	}
}

func TestWindowAndInverseAreTransposesOnAllSmallAxes(t *testing.T) {
	count := 0
	for length := int64(1); length <= 14; length++ {
		for dilation := int64(1); dilation <= 3; dilation++ {
			for kernel := int64(1); kernel*dilation <= length; kernel++ {
				for stride := int64(1); stride <= kernel; stride++ {
					for step := int64(1); step <= 3; step++ {
						for _, causal := range []bool{false, true} {
							checkAxis(t, Axis{
								Length: length, Kernel: kernel, Dilation: dilation, Stride: stride,
								QueryStep: step, Causal: causal, MaskFirst: step == 2,
							})
							count++
						}
					}
				}
			}
		}
	}
	require.Greater(t, count, 2000)
}

func randomAxis(r *rand.Rand, longest int64) Axis {
	length := 1 + r.Int64N(longest)
	dilation := 1 + r.Int64N(min(length, 9))
	kernel := 1 + r.Int64N(length/dilation)
	return Axis{
		Length: length, Kernel: kernel, Dilation: dilation,
		Stride: 1 + r.Int64N(kernel), QueryStep: 1 + r.Int64N(7),
		Causal: r.IntN(2) == 0, MaskFirst: r.IntN(2) == 0,
	}
}

func TestWindowAndInverseAreTransposesOnRandomAxes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		checkAxis(t, randomAxis(r, 120))
	}
}

// The worked example of generalized neighborhood attention: length 8, kernel 4,
// stride 2.
func TestStrideExample(t *testing.T) {
	a := Axis{Length: 8, Kernel: 4, Dilation: 1, Stride: 2, QueryStep: 1}
	starts := []int64{0, 0, 1, 1, 3, 3, 4, 4}
	for query, want := range starts {
		require.Equal(t, want, a.Window(int64(query)).Lo, "query %d", query)
	}
	a.Causal = true
	require.Equal(t, []int64{2, 3, 4}, keysOf(&a, 4))
	require.Equal(t, []int64{2, 3, 4, 5}, keysOf(&a, 5))
}

func TestCausalSlotOrders(t *testing.T) {
	a := Axis{Length: 6, Kernel: 4, Dilation: 1, Stride: 1, QueryStep: 1, Causal: true}
	require.Equal(t, Window{Position: 1, Start: 0, Lo: 0, Hi: 2}, a.Window(1))
	a.MaskFirst = true
	require.Equal(t, Window{Position: 1, Start: -2, Lo: 0, Hi: 2}, a.Window(1))
}

func FuzzWindow(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		checkAxis(t, randomAxis(rand.New(rand.NewPCG(a, b)), 200))
	})
}
