// SPDX-License-Identifier: MIT

package cpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// Planning time must not depend on the number of tokens: with 2^55 of them a loop over tokens
// would take years.
func TestPlansOfHugeProblems(t *testing.T) {
	for _, a := range []core.Axis{
		{Length: 1 << 29, Kernel: 1 << 29}, // the size of attn would not fit in 63 bits if this were larger
		{Length: 1 << 29, Kernel: 1 << 28, Stride: 7, Causal: true},
		{Length: 1 << 38, Kernel: 1 << 18, Dilation: 1 << 14, Stride: 1 << 17},
		{Length: 1 << 55, Kernel: 7, Dilation: 1 << 50, QueryStep: 1<<50 - 1},
		{Length: 1 << 55, Kernel: 7, QueryStep: 1 << 50},
		{Length: 1 << 55, Kernel: 7, Causal: true},
	} {
		for rank := 1; rank <= 3; rank++ {
			for axis := range rank {
				for op := core.AttnForward; op.Valid(); op++ {
					for _, dtype := range []core.DType{core.Float32, core.Float16, core.Float64} {
						p := core.Problem{Op: op, DType: dtype, Rank: rank, Batch: 1, Heads: 1, HeadDim: 8}
						p.Axes = [3]core.Axis{{Length: 1, Kernel: 1}, {Length: 1, Kernel: 1}, {Length: 1, Kernel: 1}}
						p.Axes[axis] = a
						plan, err := core.NewPlan([]core.Backend{New()}, core.Auto, p)
						require.NoError(t, err)
						require.GreaterOrEqual(t, plan.ScratchBytes(), int64(0))
					}
				}
			}
		}
	}
}
