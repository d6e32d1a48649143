// SPDX-License-Identifier: MIT

package sched

// Newly allocated memory has no pages mapped, and a page fault on the first write costs more
// than computing the attention output that fills the page. Mapping many pages with one call
// takes half as long.

// Piece is a range of the caller's memory.
type Piece struct {
	Address uintptr
	Size    int // bytes
}
