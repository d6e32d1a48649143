// SPDX-License-Identifier: MIT

package metal

import (
	"testing"

	"github.com/natten-mps/natten-mps/tests/conformance"
)

func TestConformance(t *testing.T) {
	s := newSimulator(nil)
	conformance.Run(t, conformance.Backend(s.backend()))
}
