// SPDX-License-Identifier: MIT

package ref_test

import (
	"testing"

	"github.com/natten-mps/natten-mps/core/ref"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// Here the conformance suite compares the element types and memory layouts with
// dense float64; that the numbers are right is shown by the tests beside.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Backend(ref.New()))
}

func TestInfinite(t *testing.T) { conformance.Infinite(t, conformance.Backend(ref.New()), 1) }

func TestNaN(t *testing.T) { conformance.NaN(t, conformance.Backend(ref.New()), 1) }
