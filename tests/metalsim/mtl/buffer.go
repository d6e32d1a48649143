// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

/*
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
// a buffer stands between pages that fault
static void* guarded(size_t n) {
	size_t g = 1 << 20, m = (n + 4095) & ~(size_t)4095;
	char* p = mmap(0, m + 2 * g, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED || mprotect(p + g, m, PROT_READ | PROT_WRITE)) return 0;
	return p + g;
}
static void unguard(void* p, size_t n) { size_t g = 1 << 20, m = (n + 4095) & ~(size_t)4095; munmap((char*)p - g, m + 2 * g); }
*/
import "C"

import (
	"unsafe"
)

// Buffer is memory between two pages that fault.
type Buffer struct {
	p     unsafe.Pointer
	n     int
	fresh bool // nothing has been stored in it yet
}

// NewBuffer allocates a buffer whose contents are undefined (NaN), like those of a
// private buffer.
func (d *Device) NewBuffer(n int) *Buffer {
	b := &Buffer{C.guarded(C.size_t(max(n, 1))), n, true}
	C.memset(b.p, 0xff, C.size_t(n))
	return b
}

// NewBufferWithBytes allocates a copy of s.
func (d *Device) NewBufferWithBytes(s []byte) *Buffer {
	b := d.NewBuffer(len(s))
	copy(b.Contents(), s)
	return b
}

// Contents returns the memory, which from here on counts as written.
func (b *Buffer) Contents() []byte { b.fresh = false; return unsafe.Slice((*byte)(b.p), b.n) }

// Len returns the number of bytes.
func (b *Buffer) Len() int { return b.n }

// Release frees the memory.
func (b *Buffer) Release() { C.unguard(b.p, C.size_t(max(b.n, 1))); b.p = nil }

// View returns a buffer's memory as a slice of T.
func View[T any](b *Buffer) []T {
	var z T
	return unsafe.Slice((*T)(b.p), b.n/int(unsafe.Sizeof(z)))
}
