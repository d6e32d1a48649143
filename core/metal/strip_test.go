// SPDX-License-Identifier: MIT

package metal

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// Runs one-axis problems that need several strips: full and ragged lengths, dilated
// and causal windows, the longest window, and ends where more queries see the keys
// than fit at once. Each runs with full threadgroups and with the smaller ones that a
// GPU may require.
func TestStrips(t *testing.T) {
	for _, threads := range []int{128, 64, 32} {
		for _, a := range []core.Axis{
			{Length: 70, Kernel: 3},
			{Length: 67, Kernel: 7},
			{Length: 129, Kernel: 5, Dilation: 2},
			{Length: 66, Kernel: 13, Causal: true},
			{Length: 65, Kernel: 13},
			{Length: 64, Kernel: 4},
		} {
			a.Dilation = max(a.Dilation, 1)
			p := core.Problem{
				Op: core.AttnBackward, DType: core.Float32, Rank: 1, Batch: 2, Heads: 2, KVHeads: 2,
				HeadDim: 32, ValueDim: 64, Ragged: true,
			}
			p.Axes[0] = a
			t.Run(fmt.Sprintf("%d/%d-%d-%d-%v", threads, a.Length, a.Kernel, a.Dilation, a.Causal), func(t *testing.T) {
				s := newSimulator(t, map[string]string{"max_threads": fmt.Sprint(threads)})
				conformance.Check(t, conformance.Backend(s.backend()), p, []int64{a.Length, a.Length/2 + 3}, 0)
				require.NotEmpty(t, s.runs["attn_bwd_strip_f32_v4_d32_e64_g8"])
			})
		}
	}
}

// A strip's queries fit its memory, even at the ends of an axis and after shrinking.
func TestQueriesOfAStripFitItsMemory(t *testing.T) {
	for lanes := stripRows; lanes <= simdWidth; lanes *= 2 {
		for threads := threadsPerGroup; threads >= simdWidth; threads /= 2 {
			for slots := 1; stripFits(threadsPerGroup/lanes, slots); slots++ {
				keys := stripKeys(threads/lanes, slots)
				require.Positive(t, keys)
				memory := threadsPerGroup/lanes*stripRows + stripSlots/2
				for length := slots; length < 3*keys+2*slots; length++ {
					a := core.Axis{Length: int64(length), Kernel: int64(slots), Dilation: 1, Stride: 1, QueryStep: 1}
					for first := 0; first < length; first += keys {
						last := min(first+keys, length) - 1
						require.LessOrEqual(t, seenSpan(&a, first, last), memory, "lanes %d, threads %d, slots %d", lanes, threads, slots)
					}
				}
			}
		}
	}
}

// seenSpan returns the number of queries from the first that sees key first to the
// last that sees key last.
func seenSpan(a *core.Axis, first, last int) int {
	from, to := a.Inverse(int64(first)), a.Inverse(int64(last))
	return int(to.First + (to.Count-1)*to.Step - from.First + 1)
}
