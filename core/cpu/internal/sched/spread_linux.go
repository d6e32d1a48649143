// SPDX-License-Identifier: MIT

package sched

import (
	"math/bits"
	"runtime"
	"syscall"
	"unsafe"
)

// sysGetcpu is the number of a system call that package syscall does not list for
// every architecture.
var sysGetcpu = map[string]uintptr{"amd64": 309, "arm64": 168}[runtime.GOARCH]

// processor is the number of the processor that runs the caller, or -1.
func processor() int {
	var number uint32
	if sysGetcpu == 0 {
		return -1
	}
	if _, _, errno := syscall.RawSyscall(sysGetcpu, uintptr(unsafe.Pointer(&number)), 0, 0); errno != 0 {
		return -1
	}
	return int(number)
}

// processorSet has a bit for each processor that a thread may use.
type processorSet [1024 / 64]uint64

func (s *processorSet) call(number uintptr) bool {
	_, _, errno := syscall.RawSyscall(number, 0, unsafe.Sizeof(*s), uintptr(unsafe.Pointer(s)))
	return errno == 0
}

func (s *processorSet) count() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// leave moves the calling thread to another processor than the given one if it is
// there. Its set of processors is the same afterwards.
func leave(number int) {
	if number < 0 || processor() != number {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set processorSet
	if !set.call(syscall.SYS_SCHED_GETAFFINITY) || set.count() < 2 || number >= 64*len(set) {
		return
	}
	others := set
	others[number/64] &^= 1 << (number % 64)
	if others.call(syscall.SYS_SCHED_SETAFFINITY) {
		set.call(syscall.SYS_SCHED_SETAFFINITY)
	}
}
