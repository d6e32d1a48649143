// SPDX-License-Identifier: MIT

// Package scratch is the memory that runs hold beside the caller's tensors. It is outside
// of Go's heap: where the system has no more, a run fails with an error and the process
// lives on, while the heap would end it.
package scratch

import (
	"math"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// leastMapped is the size in bytes from which memory is asked of the system. Smaller
// pieces are Go's: a worker has a few dozen of them at most.
const leastMapped = 16 << 10

// pageBytes is a multiple of the pages of the processors that there are kernels for.
const pageBytes = 16 << 10

// Number is what scratch memory holds: no pointers, which the garbage collector would not
// see.
type Number interface {
	~int | ~int64 | ~uint32 | ~float32 | ~float64
}

// Memory is what one worker holds. It is used by one goroutine at a time. What it holds
// goes back to the system with Free or, at the latest, when the garbage collector finds the
// Memory unreachable.
type Memory struct{ *blocks }

// blocks are the pieces of a Memory.
type blocks struct {
	mapped [][]byte
	bytes  int64 // of all pieces, those of Go's heap too
}

// held is bytes of all memories.
var held atomic.Int64

// Held is the number of bytes that all memories hold.
func Held() int64 { return held.Load() }

// Room panics as Grow does when the system would refuse the memory that Go's heap may ask
// for next, an arena and pages in use, or a thread its stack: refused, Go ends the process.
// It is asked before something is made that is not made in every run.
func Room() {
	if !room() {
		panic(refused)
	}
}

// refused is made beforehand: there may be no memory for it later.
var refused = core.Errorf(core.OutOfMemory,
	"the system refuses memory that is needed beside the tensors (want a smaller problem, fewer threads or a higher limit of the process)")

// New returns a memory that holds nothing.
func New() *Memory {
	Room()
	m := &Memory{new(blocks)}
	runtime.AddCleanup(m, (*blocks).Free, m.blocks)
	return m
}

// Free gives back everything. Slices that Grow made are not to be touched afterwards.
func (b *blocks) Free() {
	for _, block := range b.mapped {
		unmap(block)
	}
	b.mapped = nil
	b.count(-b.bytes)
}

func (b *blocks) count(bytes int64) {
	b.bytes += bytes
	held.Add(bytes)
}

// Grow makes *s a slice of length n, if need be in new memory of m, for which it gives back
// what *s held. What it holds then is undefined. *s is of no use but through Grow with the
// same m. When the system has no more memory, Grow panics with an error that Recover takes.
func Grow[T Number](m *Memory, s *[]T, n int) {
	if cap(*s) < n {
		renew(m, s, n)
		return
	}
	*s = (*s)[:n]
}

func renew[T Number](m *Memory, s *[]T, n int) {
	var t T
	size := int(unsafe.Sizeof(t))
	m.drop(unsafe.Pointer(unsafe.SliceData(*s)), int64(cap(*s)*size))
	*s = nil
	if n > (math.MaxInt-pageBytes)/size {
		panic(refused)
	}
	if n*size < leastMapped {
		*s = make([]T, n)
		m.count(int64(cap(*s) * size))
		return
	}
	block, err := mapped(Bytes[T](n))
	if err != nil {
		panic(refused)
	}
	m.mapped = append(m.mapped, block)
	m.count(int64(len(block)))
	*s = unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(block))), len(block)/size)[:n]
}

// Bytes is what a Memory holds that pieces of so many T have grown in.
func Bytes[T Number](pieces ...int) int {
	var t T
	total := 0
	for _, n := range pieces {
		bytes := n * int(unsafe.Sizeof(t))
		if bytes >= leastMapped {
			bytes = (bytes + pageBytes - 1) &^ (pageBytes - 1)
		}
		total += bytes
	}
	return total
}

// drop gives back the piece at p.
func (b *blocks) drop(p unsafe.Pointer, bytes int64) {
	if p == nil {
		return
	}
	b.count(-bytes)
	for i, block := range b.mapped {
		if unsafe.Pointer(unsafe.SliceData(block)) == p {
			last := len(b.mapped) - 1
			b.mapped[i], b.mapped[last] = b.mapped[last], nil
			b.mapped = b.mapped[:last]
			unmap(block)
			return
		}
	}
}

// Recover, deferred, turns the panic of Grow into an error. Other panics go on.
func Recover(err *error) {
	switch p := recover().(type) {
	case nil:
	case *core.Error:
		*err = p
	default:
		panic(p)
	}
}
