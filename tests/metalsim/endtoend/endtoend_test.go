// SPDX-License-Identifier: MIT

// Package endtoend runs problems of the table on the GPU backend as on a Mac, through
// metalrt and objc_msgSend, with the simulated Metal.
package endtoend

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/metal"
	"github.com/natten-mps/natten-mps/metalrt"
	"github.com/natten-mps/natten-mps/tests"
	"github.com/natten-mps/natten-mps/tests/conformance"
	"github.com/natten-mps/natten-mps/tests/metalsim/simulator"
)

// path is the path of the simulator.
var path string

func TestMain(m *testing.M) {
	if runtime.GOOS != "linux" {
		fmt.Println("skipped: the simulator is for Linux")
		return
	}
	var err error
	if path, err = simulator.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	metalrt.Simulate(path)
	os.Exit(m.Run())
}

// Cases that together have each feature; core/metal runs all cases without metalrt.
var features = map[string]bool{
	"1d": true, "1d-gqa": true, "1d-extra-5-gqa": true, "1d-rpb": true, "1d-ragged": true, "1d-step": true,
	"1d-causal": true, "1d-scale": true, "1d-head-dim-3": true, "2d": true, "2d-dilated": true, "3d": true,
}

func TestProblems(t *testing.T) {
	s, err := simulator.Open(path)
	require.NoError(t, err)
	gpu := conformance.Backend(metal.OnSystem())
	for _, c := range tests.Cases() {
		if !features[c.Name] {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			for op := core.AttnForward; op.Valid(); op++ {
				t.Run(op.String(), func(t *testing.T) {
					s.Clear()
					conformance.Check(t, gpu, c.Problem(op, core.Float32), c.FlatSizes(), 0)
					require.Empty(t, s.Findings())
					require.Zero(t, s.Live("SimCommandBuffer"))
					require.Zero(t, s.Live("SimComputeCommandEncoder"))
					require.Zero(t, s.Live("SimLibrary"))
					require.Zero(t, s.Live("SimFunction"))
				})
			}
		})
	}
}
