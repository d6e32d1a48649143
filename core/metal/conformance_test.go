// SPDX-License-Identifier: MIT

package metal

import (
	"testing"

	"github.com/natten-mps/natten-mps/tests/conformance"
	"github.com/natten-mps/natten-mps/tests/metalsim/mtl"
)

func TestConformance(t *testing.T) {
	s := newSimulator(nil)
	conformance.Run(t, conformance.Backend(s.backend()))
}

// everywhereMatrix uses the matrix design wherever it can be used.
var everywhereMatrix = tuning{channels: 16, reuse: 1, block: 2, matrixSlots: 1, matrixDims: 128, fill: 1}

// Other variants of every kernel, in another order of threads.
func TestConformanceOfMatrixDesignAndWideOffsets(t *testing.T) {
	s := newSimulator(func(d *mtl.Device) { d.Shuffle, d.Seed = true, 1 })
	b := s.backend()
	b.tune, b.wide = &everywhereMatrix, true
	conformance.Run(t, conformance.Backend(b))
}
