// SPDX-License-Identifier: MIT

//go:build linux || darwin

package conformance

import (
	"os"
	"syscall"
	"testing"
)

// edges says where the memory of arrays is placed. It lies between unmapped pages, so
// that an access beyond it ends the program.
var edges struct {
	use, end bool // at the end of the mapped pages, or else at their beginning
	blocks   [][]byte
}

// AtEdges runs f with the tensors of a test directly before or directly after unmapped
// pages.
func AtEdges(t *testing.T, end bool, f func()) {
	edges.use, edges.end = true, end
	defer func() {
		edges.use = false
		unmapEdges(t)
	}()
	f()
}

// atEdge returns memory of the given size next to an unmapped page.
func atEdge(bytes int) []byte {
	page := os.Getpagesize()
	pages := (bytes + page - 1) / page * page
	block, err := syscall.Mmap(-1, 0, pages+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil {
		err = syscall.Mprotect(block[:page], syscall.PROT_NONE)
	}
	if err == nil {
		err = syscall.Mprotect(block[page+pages:], syscall.PROT_NONE)
	}
	if err != nil {
		panic(err)
	}
	edges.blocks = append(edges.blocks, block)
	if edges.end {
		return block[page+pages-bytes : page+pages : page+pages]
	}
	return block[page : page+bytes : page+bytes]
}

func unmapEdges(t *testing.T) {
	for _, block := range edges.blocks {
		if err := syscall.Munmap(block); err != nil {
			t.Error(err)
		}
	}
	edges.blocks = nil
}
