// SPDX-License-Identifier: MIT

//go:build !linux && !darwin

package conformance

import "testing"

var edges struct{ use bool }

// AtEdges skips the test, because this system cannot unmap pages.
func AtEdges(t *testing.T, _ bool, _ func()) { t.Skip("no mprotect") }

func atEdge(bytes int) []byte { return make([]byte, bytes) }

func unmapEdges(*testing.T) {}
