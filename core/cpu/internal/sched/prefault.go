// SPDX-License-Identifier: MIT

package sched

// Memory that was just allocated has no pages, and a page that is first touched when
// it is written costs more than the attention in it. Asking for many pages at a time
// takes half as long.

// Piece is a part of the caller's memory.
type Piece struct {
	Address uintptr
	Size    int // bytes
}
