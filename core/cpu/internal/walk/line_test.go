// SPDX-License-Identifier: MIT

package walk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// firstComputed agrees with a linear search in every dilation group.
func TestFirstComputed(t *testing.T) {
	for dilation := range int64(14) {
		for step := range int64(20) {
			a := core.Axis{Length: 1000, Kernel: 1, Dilation: dilation + 1, Stride: 1, QueryStep: step + 1}
			for residue := range a.Dilation {
				want := int64(0)
				for want < a.Period() && (residue+want*a.Dilation)%a.QueryStep != 0 {
					want++
				}
				got, any := firstComputed(&a, residue)
				require.Equal(t, want < a.Period(), any, "%+v residue %d", a, residue)
				if any {
					require.Equal(t, want, got, "%+v residue %d", a, residue)
				}
			}
		}
	}
	// Numbers whose product does not fit in 64 bits.
	a := core.Axis{Length: 1 << 60, Kernel: 1, Dilation: 1<<59 - 55, Stride: 1, QueryStep: 1<<60 - 93}
	p, any := firstComputed(&a, 1<<58)
	require.True(t, any)
	require.Less(t, p, a.Period())
}

// The bound used for kernels that are too long to count is never below the exact count.
func TestMostQueriesOfAKey(t *testing.T) {
	for kernel := int64(1); kernel <= 40; kernel++ {
		for _, length := range []int64{kernel, kernel + 1, kernel + kernel/2, 2*kernel + 1, 5 * kernel} {
			for stride := int64(1); stride <= kernel; stride += 3 {
				for step := int64(1); step < 4; step++ {
					for _, causal := range []bool{false, true} {
						a := core.Axis{Length: length, Kernel: kernel, Dilation: 1, Stride: stride, QueryStep: min(step, length), Causal: causal}
						l := NewLine(a, 0)
						bound := mostQueries(&a, &l)
						for key := range l.Keys {
							lo, hi := l.QueriesOf(key)
							require.LessOrEqual(t, hi-lo, bound, "%+v key %d", a, key)
						}
					}
				}
			}
		}
	}
}
