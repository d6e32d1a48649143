// SPDX-License-Identifier: MIT

// Without cgo, callbacks are purego's, which allocate. Under the race detector,
// sync.Pool drops items at random.
//go:build cgo && !race

package metalrt

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEncodeAllocatesNothing(t *testing.T) {
	withFaults(t, 0)
	s := newScript()
	for _, route := range []Route{CommandBlock, DispatchQueue} {
		torch, err := OpenTorch(mock.path, route)
		require.NoError(t, err)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			mock.log[0] = 0
			if err := torch.Encode(torch.CurrentStream(), s); err != nil {
				t.Fatal(err)
			}
		}), route)
	}
}
