// SPDX-License-Identifier: MIT

// Without cgo the callbacks are purego's, which allocate; under the race detector
// sync.Pool drops what it is given now and then.
//go:build cgo && !race

package metal

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The own queue is left out: while it waits the goroutine may change processors,
// each of which has its own part of a sync.Pool.
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
