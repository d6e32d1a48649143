// SPDX-License-Identifier: MIT

package main

import (
	"syscall"
	"time"
)

// threadTime is the processor time of this thread, which tells more than a clock on a
// machine with other work.
func threadTime() time.Duration {
	var u syscall.Rusage
	const thread = 1 // RUSAGE_THREAD
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
