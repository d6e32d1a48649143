// SPDX-License-Identifier: MIT

//go:build unix && !race

package scratch

import "syscall"

// mapped returns whole pages, which hold zeros.
func mapped(bytes int) ([]byte, error) {
	return syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

// What Go may ask for at once: an arena of 64 MiB of address space, which its heap and a
// thread's stack then take parts of.
const (
	reservedBytes = 128 << 20
	usedBytes     = 16 << 20
)

// room reports whether the system would grant both now.
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

const onHeap = false // whether mapped is of Go's heap

func unmap(block []byte) { _ = syscall.Munmap(block) } // fails for no block of mapped
