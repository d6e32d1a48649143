// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

// A goroutine that publishes a column and never computes it simulates a slow one. Another
// goroutine computes exactly the rows that it steals.
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
	r := newRunner(n)
	u := r.runs.New().(*run)
	out := newArray(shuffle, n, first, false, false)
	out.fill(math.NaN)
	u.in.Problem, u.in.Sizes, u.threads = n, nil, 1
	for role, a := range tr.inputs {
		u.in.Tensors[role] = walk.NewTensor(a.tensor(), n.DTypeOf(role))
	}
	u.in.Tensors[first] = walk.NewTensor(out.tensor(), n.DTypeOf(first))
	u.begin(r.plans[0], r.plans[0].Walk().Stage(&u.in, 0))

	var slow sched.Stealable[walk.Rows]
	u.victims.Add(&slow)
	lazy := &publisher{}
	lazy.at.Begin(&u.in, &u.stages[0].walk, &slow, false)
	lazy.at.Task(0, lazy)
	helper := hand{run: u}
	u.victims.Add(&helper.rows)
	helper.help(true)

	row, end, ok := slow.Take(2)
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

// publisher publishes the rows of the first column that it visits.
type publisher struct{ at walk.Cursor }

func (p *publisher) Plan(n, count int) { p.at.SetTile(n, count) }

func (p *publisher) Column(from, to [3]int) { p.at.Publish(from[0], from[1], to[1]) }
