// SPDX-License-Identifier: MIT

package sched

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// threadSet is the set of processors of the calling thread.
func threadSet(t *testing.T) (set processorSet) {
	t.Helper()
	require.True(t, set.call(syscall.SYS_SCHED_GETAFFINITY))
	return set
}

func TestLeaveGoesToAnotherProcessorAndKeepsTheSet(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadSet(t)
	if before.count() < 2 {
		t.Skip("one processor")
	}
	moved := false
	for range 20 { // it may be moved back before it is looked at
		number := processor()
		require.GreaterOrEqual(t, number, 0)
		leave(number)
		moved = moved || processor() != number
	}
	require.True(t, moved)
	require.Equal(t, before, threadSet(t))
}

func TestLeaveRespectsASetOfOneProcessor(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadSet(t)
	var one processorSet
	number := processor()
	one[number/64] = 1 << (number % 64)
	require.True(t, one.call(syscall.SYS_SCHED_SETAFFINITY))
	defer before.call(syscall.SYS_SCHED_SETAFFINITY)
	leave(number)
	require.Equal(t, one, threadSet(t))
	require.Equal(t, number, processor())
}
