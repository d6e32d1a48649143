// SPDX-License-Identifier: MIT

package main

import (
	"syscall"
	"time"
)

// threadTime is the processor time of this thread, which is more accurate than a clock
// on a busy machine.
func threadTime() time.Duration {
	var u syscall.Rusage
	const thread = 1 // RUSAGE_THREAD
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
