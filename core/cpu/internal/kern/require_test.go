// SPDX-License-Identifier: MIT

package kern

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestRequiredKernels fails if NATTEN_TEST_REQUIRE names kernels that were not
// selected, so that CI cannot silently fall back to portable Go.
func TestRequiredKernels(t *testing.T) {
	selected := "generic"
	if active != nil {
		selected = active.Name
	}
	for _, wanted := range strings.Split(os.Getenv("NATTEN_TEST_REQUIRE"), ",") {
		if slices.Contains(append([]string{"generic"}, Names...), wanted) && wanted != selected {
			t.Errorf("NATTEN_TEST_REQUIRE wants %s kernels, selected are %s", wanted, details)
		}
	}
}
