// SPDX-License-Identifier: MIT

// Without cgo, callbacks are purego's, which allocate. Under the race detector,
// sync.Pool drops items at random.
//go:build cgo && !race

package metal

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Our own queue is not tested: while it waits, the goroutine may move to another
// processor, and each processor has its own part of a sync.Pool.
func TestLaunchAllocatesNothing(t *testing.T) {
	for name, route := range streams {
		if route == 0 {
			continue
		}
		g, s := simulated(t)
		use(t, g, s, route)
		job := emptyJob(t, g, s)
		require.Zero(t, testing.AllocsPerRun(50, func() {
			if err := g.Run(job); err != nil {
				t.Fatal(err)
			}
		}), name)
		s.Call("metalsim_stream_synchronize", 0)
	}
}
