// SPDX-License-Identifier: MIT

// Package fenv manages the floating-point environment of a thread: rounding mode, flushing of
// subnormal numbers, trapping exceptions and exception flags. Threads of a host program may have
// any, which Go, whose own threads inherit it from the one that loads it, does not change.
package fenv

// State is a thread's floating-point environment.
type State uint64

// Default sets the default environment on the calling goroutine's thread and returns the one
// before: round to nearest, subnormal numbers, no traps. Flags stay, as nothing reads them and a
// write takes longer than a read.
func Default() State {
	s := get()
	if s&control != standard {
		set(standard)
	}
	return s
}

// Restore sets the environment that Default returned. The goroutine must still be on the same
// thread, as a goroutine is that C called.
func (s State) Restore() {
	if get() != s {
		set(s)
	}
}
