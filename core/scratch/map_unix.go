// SPDX-License-Identifier: MIT

//go:build unix && !race

package scratch

import "syscall"

// mapped returns zeroed pages from the system.
func mapped(bytes int) ([]byte, error) {
	return syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

// What the Go runtime may request next. Its heap reserves address space in arenas of 64 MiB
// and then uses parts of them; a new thread needs a stack. The values leave a margin.
const (
	reservedBytes = 128 << 20
	usedBytes     = 16 << 20
)

// room reports whether the system would grant both requests now.
func room() bool {
	return grants(reservedBytes, syscall.PROT_NONE) && grants(usedBytes, syscall.PROT_READ|syscall.PROT_WRITE)
}

func grants(bytes, protection int) bool {
	block, err := syscall.Mmap(-1, 0, bytes, protection, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil {
		unmap(block)
	}
	return err == nil
}

const onHeap = false // whether mapped returns memory of Go's heap

func unmap(block []byte) { _ = syscall.Munmap(block) } // cannot fail for memory from mapped
