// SPDX-License-Identifier: MIT

//go:build !unix || race

package scratch

// mapped returns zeroed memory from Go's heap, either because the platform offers nothing else
// or so that the race detector sees it.
func mapped(bytes int) ([]byte, error) { return make([]byte, bytes), nil }

// room returns true: the limits of the system are not known.
func room() bool { return true }

const onHeap = true

func unmap([]byte) {}
