// SPDX-License-Identifier: MIT

package cpu

import (
	"os"
	"syscall"
	"unsafe"
)

var pageBytes = uintptr(os.Getpagesize())

// absent reports whether the page in the middle of a piece is missing.
func absent(x piece) bool {
	var resident byte
	page := (uintptr(x.p) + uintptr(x.size)/2) &^ (pageBytes - 1)
	_, _, errno := syscall.RawSyscall(syscall.SYS_MINCORE, page, pageBytes, uintptr(unsafe.Pointer(&resident)))
	return errno == 0 && resident&1 == 0
}

// populate makes the pages of a piece, ready to be written, or returns why not.
// Kernels before 5.14 refuse, and the pages then come one by one.
func populate(x piece) error {
	const populateWrite = 23 // MADV_POPULATE_WRITE
	from := uintptr(x.p) &^ (pageBytes - 1)
	if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, uintptr(x.p)+uintptr(x.size)-from, populateWrite); errno != 0 {
		return errno
	}
	return nil
}
