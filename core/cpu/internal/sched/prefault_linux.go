// SPDX-License-Identifier: MIT

package sched

import (
	"os"
	"syscall"
	"unsafe"
)

var pageBytes = uintptr(os.Getpagesize())

// NotResident reports whether the page in the middle of a piece is not in memory. It stands
// for the whole piece.
func NotResident(x Piece) bool {
	var resident byte
	page := (x.Address + uintptr(x.Size)/2) &^ (pageBytes - 1)
	_, _, errno := syscall.RawSyscall(syscall.SYS_MINCORE, page, pageBytes, uintptr(unsafe.Pointer(&resident)))
	return errno == 0 && resident&1 == 0
}

// Prefault maps the pages of a piece, ready to be written. Linux before 5.14 returns an error;
// pages are then mapped one by one as they are written.
func Prefault(x Piece) error {
	const populateWrite = 23 // MADV_POPULATE_WRITE
	from := x.Address &^ (pageBytes - 1)
	if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, x.Address+uintptr(x.Size)-from, populateWrite); errno != 0 {
		return errno
	}
	return nil
}
