// SPDX-License-Identifier: MIT

package ref_test

import (
	"testing"

	"github.com/natten-mps/natten-mps/core/ref"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// For this backend the conformance suite compares element types and memory layouts with
// dense float64. The other tests of this package show that the numbers are right.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Backend(ref.New()))
}

func TestInfinite(t *testing.T) { conformance.Infinite(t, conformance.Backend(ref.New()), 1) }

func TestInterrupts(t *testing.T) { conformance.Interrupts(t, ref.New(), 5) }

func TestNaN(t *testing.T) { conformance.NaN(t, conformance.Backend(ref.New()), 1) }
