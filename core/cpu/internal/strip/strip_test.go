// SPDX-License-Identifier: MIT

package strip

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

// For every kind of axis the stretches contain each window exactly once, in order.
func TestStretchesCoverWindows(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for range 200 {
		a := core.Axis{Length: 1 + r.Int64N(60), Dilation: 1, QueryStep: 1 + r.Int64N(3), Causal: r.IntN(2) == 0}
		a.Kernel = 1 + r.Int64N(a.Length)
		a.Stride = 1 + r.Int64N(a.Kernel)
		l := walk.NewLine(a, 0)
		var lo, hi []int
		for n := range l.Queries {
			from, to, _ := l.KeysOf(n)
			lo, hi = append(lo, from), append(hi, to)
		}
		next := 0
		for _, s := range findStretches(nil, lo, hi) {
			require.Equal(t, next, s.item)
			for i := range s.items {
				require.Equal(t, lo[next+i], s.low+i*s.advance, "%+v query %d", a, next+i)
				require.Equal(t, hi[next+i]-lo[next+i], s.keys, "%+v query %d", a, next+i)
				part := s.within(next+i, next+i+5)
				require.Equal(t, stretch{next + i, min(5, s.items-i), lo[next+i], s.keys, s.advance}, part)
			}
			next += s.items
		}
		require.Equal(t, l.Queries, next)
	}
}
