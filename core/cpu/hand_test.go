// SPDX-License-Identifier: MIT

package cpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core/cpu/internal/engine"
)

// pooled is a worker that counts what is done with it.
type pooled struct {
	engine.Worker
	released, freed int
}

func (p *pooled) Release() { p.released++ }

func (p *pooled) Free() { p.freed++ }

// refusing is a plan that has no memory for a worker.
type refusing struct{ engine.Plan }

func (refusing) Worker() engine.Worker { panic("no memory") }

// A worker that is back in its pool may be in use elsewhere, so its memory is not freed when the
// worker of the next stage cannot be made.
func TestReleasedWorkersAreNotFreed(t *testing.T) {
	first, second := &stage{}, &stage{plan: refusing{}}
	own := &pooled{}
	h := &hand{stage: first, own: own}
	require.PanicsWithValue(t, "no memory", func() {
		defer h.release()
		h.worker(second)
	})
	require.Equal(t, [2]int{1, 0}, [2]int{own.released, own.freed})
}
