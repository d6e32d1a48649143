// SPDX-License-Identifier: MIT

package scratch

// stackBytes is enough for a signal handler and the processor state that is saved for it, which
// is 11 KiB with AMX.
const stackBytes = 40 << 10

// Stack grows the goroutine's stack so that a signal handler of the host program can run on it.
// Handlers installed without SA_ONSTACK do, and a goroutine may start with 2 KiB. The garbage
// collector shrinks unused stacks, so Stack is called at the start of every piece of work. It
// takes a nanosecond if the stack is already large enough.
func Stack() { large(false) }

// large has a large stack frame, for which Go makes room on every call, whether used or not.
//
//go:noinline
func large(used bool) byte {
	if !used {
		return 0
	}
	var room [stackBytes]byte
	fill(&room)
	return room[0]
}

//go:noinline
func fill(room *[stackBytes]byte) {
	for i := range room {
		room[i] = 1
	}
}
