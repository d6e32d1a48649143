// SPDX-License-Identifier: MIT

//go:build !unix || race

package scratch

// mapped returns bytes of zeros: of Go's heap, since there is nothing else or the race
// detector is to see them.
func mapped(bytes int) ([]byte, error) { return make([]byte, bytes), nil }

// room reports that nothing is known.
func room() bool { return true }

const onHeap = true

func unmap([]byte) {}
