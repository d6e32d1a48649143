// SPDX-License-Identifier: MIT

package sched

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func mapped(t *testing.T, size int) []byte {
	m, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Munmap(m)) })
	return m
}

func pieceOf(m []byte) Piece { return Piece{uintptr(unsafe.Pointer(&m[0])), len(m)} }

func TestPrefaultMakesPages(t *testing.T) {
	if name, err := os.ReadFile("/proc/self/comm"); err == nil && bytes.HasPrefix(name, []byte("qemu-")) {
		t.Skip("qemu accepts MADV_POPULATE_WRITE and does nothing")
	}
	m := mapped(t, 64<<10)
	require.True(t, NotResident(pieceOf(m)))
	if err := Prefault(pieceOf(m[100:40000])); err != nil {
		t.Skipf("not with this kernel: %v", err)
	}
	require.False(t, NotResident(pieceOf(m[:100])))
	require.False(t, NotResident(pieceOf(m[36864:40000])))
	require.True(t, NotResident(pieceOf(m[40960:])))
	m[50] = 1
	require.NoError(t, Prefault(pieceOf(m)))
	require.Equal(t, byte(1), m[50])
}
