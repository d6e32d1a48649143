// SPDX-License-Identifier: MIT

package cpu_test

import (
	"testing"

	"github.com/natten-mps/natten-mps/core/cpu"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Backend(cpu.New()))
}
