// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// A goroutine that offers a column and does not come to compute it stands for a slow
// one: another one computes the rows that it takes off, and no others.
func TestHelpComputesTheRowsThatItTakes(t *testing.T) {
	for name, p := range map[string]core.Problem{
		"blocks":   plain(core.AttnForward, []int64{1, 24, 9}, []int64{1, 6, 6}, 1, 16),
		"panels":   plain(core.AttnForward, []int64{1, 24, 9}, []int64{1, 5, 1}, 1, 24),
		"stencils": plain(core.AttnForward, []int64{1, 24, 9}, []int64{1, 3, 3}, 1, 16),
	} {
		for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
			p.Op = op
			t.Run(name+"/"+op.String(), func(t *testing.T) {
				testHelp(t, newTrial(t, rand.New(rand.NewPCG(1, 2)), p, nil, false))
			})
		}
	}
}

func testHelp(t *testing.T, tr *trial) {
	shuffle, first := rand.New(rand.NewPCG(3, 4)), outputsOf[tr.p.Op][0]
	whole := tr.run(t, New(), shuffle, false)
	n, err := tr.p.Normalize()
	require.NoError(t, err)
	r := newRunner[float32](n).(*runner[float32])
	u := r.runs.New().(*run[float32])
	out := newArray(shuffle, n, first, false, false)
	out.fill(math.NaN)
	for role, a := range tr.inputs {
		u.tensors[role] = newTensor(a.tensor(), dtypeOf(n, role))
	}
	u.tensors[first] = newTensor(out.tensor(), dtypeOf(n, first))
	u.threads = 1
	u.stages = append(u.stages, u.stage(r.walks[0]))

	var slow, helper tile[float32]
	slow.begin(u, &u.stages[0])
	u.victims.Add(&slow.left)
	helper.run = u
	u.victims.Add(&helper.left)
	slow.lay(0)
	slow.stencil.end = 1
	slow.planTile(0, 9)
	slow.publishRows(0, 0, 24)
	helper.help()

	row, end, ok := slow.left.Take(2)
	require.Equal(t, []any{0, 6, true}, []any{row, end, ok})
	want, got, perRow := whole[first].values(), out.values(), 9*int(tr.p.HeadDim)
	for i, v := range got {
		if i < 6*perRow {
			require.True(t, math.IsNaN(v), "element %d", i)
		} else {
			require.Equal(t, want[i], v, "element %d", i)
		}
	}
}
