// SPDX-License-Identifier: MIT

package scratch

// stackBytes is room for a handler of signals and what the processor saves for it: 11 KiB
// with AMX.
const stackBytes = 40 << 10

// Stack makes the goroutine's stack so large that a handler of the host's can run on it,
// which one without SA_ONSTACK does; a goroutine may begin with 2 KiB. The garbage collector
// takes away what is not used, so it is called at the beginning of every piece of work. It
// takes a nanosecond where the stack is large enough.
func Stack() { large(false) }

// large has a large frame, for which there has to be room when it is called, used or not.
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
