// SPDX-License-Identifier: MIT

package metal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// If the GPU refuses the tuned kernel or supports too few threads for it, a plainer
// one computes the same result, and the backend reports it.
func TestPlainerKernels(t *testing.T) {
	for name, settings := range map[string]map[string]string{
		"registers": {"fail": "pipeline@1"},
		"threads":   {"max_threads": "16", "max_threads_for": "_r22"},
	} {
		t.Run(name, func(t *testing.T) {
			g, s := simulated(t)
			b := New(func() (Device, error) { return g, nil })
			tune := withoutMatrix(tunings[0])
			b.tune = &tune
			dim := map[string]int64{"registers": 20, "threads": 28}[name] // dimensions that no other test compiles
			for option, value := range settings {
				require.NoError(t, s.Set(option, value))
			}
			for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
				p, sizes := small(op, core.Float32, 2, dim, true)
				conformance.Check(t, conformance.Backend(b), p, sizes, 0)
			}
			_, details := b.Available()
			want := map[string]string{"registers": "exceeds available temporary registers", "threads": "takes 16 threads per threadgroup"}[name]
			require.Contains(t, details, "plainer kernels where the tuned ones were refused: ")
			require.Contains(t, details, want)
		})
	}
}
