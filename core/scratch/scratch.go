// SPDX-License-Identifier: MIT

// Package scratch manages the temporary memory of runs. Large pieces are allocated outside Go's
// heap: when the system is out of memory, a run then fails with an error, whereas a failed heap
// allocation would end the process.
package scratch

import (
	"math"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// leastMapped is the smallest size in bytes that is requested from the system directly. Smaller
// pieces come from Go's heap; a worker has a few dozen of them at most.
const leastMapped = 16 << 10

// pageBytes is a multiple of the page size of every processor that has kernels.
const pageBytes = 16 << 10

// Number is the type of an element of scratch memory. It has no pointers, as the garbage
// collector would not see them there.
type Number interface {
	~int | ~int64 | ~uint32 | ~float32 | ~float64
}

// Memory is the scratch memory of one worker, for use by one goroutine at a time. It returns
// to the system on Free or, at the latest, when the garbage collector finds the Memory
// unreachable.
type Memory struct{ *blocks }

// blocks are the pieces of a Memory.
type blocks struct {
	mapped [][]byte
	bytes  int64 // size of all pieces, including those on Go's heap
}

// held is the total size in bytes of all memories.
var held atomic.Int64

// Held is the number of bytes that all memories hold.
func Held() int64 { return held.Load() }

// Room panics like Grow if the system would refuse what the Go runtime may request next: an
// arena of its heap or the stack of a thread. The runtime would end the process if one of
// these were refused. Callers check it before allocations that do not happen in every run.
func Room() {
	if !room() {
		panic(refused)
	}
}

// refused is allocated in advance, as there may be no memory for it later.
var refused = core.Errorf(core.OutOfMemory,
	"the system refuses temporary memory (want a smaller problem, fewer threads or a higher limit of the process)")

// New returns an empty memory.
func New() *Memory {
	Room()
	m := &Memory{new(blocks)}
	runtime.AddCleanup(m, (*blocks).Free, m.blocks)
	return m
}

// Free releases everything. Slices made by Grow must not be used afterwards.
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

// Grow sets *s to length n. If its capacity is too small, Grow releases the old memory of *s
// and allocates new memory in m; the contents are then undefined. *s must be allocated only by
// Grow, always with the same m. If the system is out of memory, Grow panics with an error that
// Recover handles.
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

// Bytes is the size in bytes of a Memory in which Grow made pieces of the given lengths.
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

// drop releases the piece at p.
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

// Recover turns panics that core.Known knows, such as Grow's, into an error. It must be deferred.
// Other panics continue.
func Recover(err *error) {
	p := recover()
	if known := core.Known(p); known != nil {
		*err = known
	} else if p != nil {
		panic(p)
	}
}
