// SPDX-License-Identifier: MIT

//go:build cgo

package main

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// sized returns a struct of the header whose size is filled in.
func sized[T any]() *T {
	s := new(T)
	*(*uint64)(unsafe.Pointer(s)) = uint64(unsafe.Sizeof(*s))
	return s
}

func message(e *errorStruct) string {
	bytes := bytesAt(unsafe.Pointer(&e.message), unsafe.Sizeof(e.message))
	text, _, _ := strings.Cut(string(bytes), "\x00")
	return text
}

func TestPanicsBecomeStatuses(t *testing.T) {
	e := sized[errorStruct]()
	status := guarded(e, func() error { panic("out of luck") })
	require.EqualValues(t, core.Internal, status)
	require.EqualValues(t, core.Internal, e.status)
	require.Contains(t, message(e), "internal error, please report it: out of luck")
	require.Contains(t, message(e), "TestPanicsBecomeStatuses", "with the place")
	require.EqualValues(t, core.Internal, guarded(nil, func() error { panic("out of luck") }))
	require.EqualValues(t, core.OutOfMemory, guarded(e, func() error { panic(core.Errorf(core.OutOfMemory, "no room")) }))
	require.Equal(t, "no room", message(e))
}

func TestErrorsWithoutAStatusAreInternal(t *testing.T) {
	e := sized[errorStruct]()
	require.EqualValues(t, core.Internal, guarded(e, func() error { return errors.New("lost") }))
	require.Equal(t, "lost", message(e))
	require.Zero(t, guarded(e, func() error { return nil }))
	require.Zero(t, e.status)
	require.Empty(t, message(e), "success clears the message")
}

func TestMessagesAreCutBetweenCharacters(t *testing.T) {
	e := sized[errorStruct]()
	for pad := range 4 {
		text := strings.Repeat("x", pad) + strings.Repeat("é", 1500)
		guarded(e, func() error { return errors.New(text) })
		got := message(e)
		require.True(t, strings.HasPrefix(text, got))
		require.Equal(t, 2031-(1+pad)%2, len(got))
	}
}

func TestHandles(t *testing.T) {
	var plans table[int]
	_, err := plans.get(1 << indexBits)
	require.ErrorContains(t, err, "was never made or is destroyed", "nothing was made yet")
	seen := map[uint64]bool{}
	var live []uint64
	for i := range 1000 {
		value := i
		handle, err := plans.add(&value)
		require.NoError(t, err)
		require.NotZero(t, handle)
		require.False(t, seen[handle])
		seen[handle] = true
		if live = append(live, handle); i%3 == 0 {
			require.NoError(t, plans.remove(live[0]))
			require.Error(t, plans.remove(live[0]))
			live = live[1:]
		}
	}
	require.LessOrEqual(t, len(*plans.slots.Load()), 668, "slots are used again")
	for _, handle := range live {
		_, err := plans.get(handle)
		require.NoError(t, err)
		delete(seen, handle)
	}
	for handle := range seen {
		_, err := plans.get(handle)
		require.Error(t, err, "another value is in its slot")
	}
}

func TestHandlesRunOut(t *testing.T) {
	plans := table[int]{most: 3}
	var last uint64
	for range 3 {
		var err error
		last, err = plans.add(new(int))
		require.NoError(t, err)
	}
	handle, err := plans.add(new(int))
	require.ErrorContains(t, err, "3 plans are alive (want some of them destroyed first)")
	require.Equal(t, core.OutOfMemory, err.(*core.Error).Status)
	require.Zero(t, handle)
	require.NoError(t, plans.remove(last))
	_, err = plans.add(new(int))
	require.NoError(t, err)
}

// In a struct of an older version, missing fields are read as 0 and are not written.
func TestOlderStructs(t *testing.T) {
	old := unsafe.Offsetof(problemStruct{}.scale)
	l := layout{name: "natten_mps_problem", size: unsafe.Sizeof(problemStruct{}), older: []uintptr{old}}
	from, to := sized[problemStruct](), sized[problemStruct]()
	from.size, from.extra, from.scale = 7, 3, 5
	require.ErrorContains(t, load(to, from, &l), "size of natten_mps_problem is 7 (want sizeof(natten_mps_problem) = 328)")
	*(*uint64)(unsafe.Pointer(from)) = uint64(old)
	to.scale = 4
	require.NoError(t, load(to, from, &l))
	require.EqualValues(t, 3, to.extra)
	require.Zero(t, to.scale)
	to.size, to.extra, to.scale = 1, 9, 9
	require.NoError(t, store(from, to, &l))
	require.EqualValues(t, 9, from.extra)
	require.EqualValues(t, 5, from.scale)
	require.EqualValues(t, old, from.size, "stays the caller's")
}

func TestHandlesFromManyGoroutines(t *testing.T) {
	var plans table[uint64]
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 2000 {
				value := new(uint64)
				handle, full := plans.add(value)
				*value = handle
				got, err := plans.get(handle)
				if full != nil || err != nil || got != value || plans.remove(*value) != nil {
					t.Error("a handle led elsewhere")
					return
				}
			}
		})
	}
	wait.Wait()
}

// attentionMemory holds the tensors of attention.
var attentionMemory [4][64 * 2 * 16]float32

// attention returns a problem of length 64, kernel 7 and 2 heads of 16 channels.
func attention(t testing.TB) (*problemStruct, *argsStruct) {
	p := sized[problemStruct]()
	p.op, p.dtype, p.rank, p.batch, p.heads, p.head_dim = 1, 1, 1, 1, 2, 16
	p.axes[0].length, p.axes[0].kernel = 64, 7
	args := sized[argsStruct]()
	args.num_threads = 1
	for i, tensor := range []*tensorStruct{&args.query, &args.key, &args.value, &args.out} {
		tensor.data = unsafe.Pointer(&attentionMemory[i])
		tensor.strides[1], tensor.strides[2], tensor.strides[3] = 32, 16, 1
	}
	return p, args
}

var underRaceDetector bool

// A run in steady state allocates nothing on the Go heap.
func TestRunAllocatesNothing(t *testing.T) {
	if underRaceDetector {
		t.Skip("the race detector makes sync.Pool forget things")
	}
	p, args := attention(t)
	e := sized[errorStruct]()
	plan := new(planHandle)
	require.Zero(t, natten_mps_plan_create(p, nil, plan, e), message(e))
	allocations := testing.AllocsPerRun(200, func() {
		if natten_mps_run(*plan, args, e) != 0 {
			t.Error(message(e))
		}
	})
	require.Zero(t, allocations)
	require.Zero(t, natten_mps_plan_destroy(*plan, e))
}

func BenchmarkRun(b *testing.B) {
	p, args := attention(b)
	plan := new(planHandle)
	require.Zero(b, natten_mps_plan_create(p, nil, plan, nil))
	b.ReportAllocs()
	for b.Loop() {
		natten_mps_run(*plan, args, nil)
	}
	require.Zero(b, natten_mps_plan_destroy(*plan, nil))
}

// The pool must not keep pointers that a caller passed.
func TestPointersAreForgotten(t *testing.T) {
	c := new(call)
	_, args := attention(t)
	require.NoError(t, c.decode(&core.Problem{}, args))
	require.NotZero(t, c.buffers.Tensors[core.Query].Data)
	c.release()
	require.Equal(t, call{}, *c)
}

// A run never uses more threads than there are processors, whatever the caller
// requests.
func TestThreadsOfARun(t *testing.T) {
	processors := runtime.GOMAXPROCS(3)
	defer runtime.GOMAXPROCS(processors)
	defer threads.Store(threads.Load())
	for _, c := range []struct{ set, asked, want int32 }{{0, 0, 3}, {2, 0, 2}, {2, 1, 1}, {0, 1 << 20, 3}, {1 << 20, 0, 3}} {
		threads.Store(c.set)
		require.EqualValues(t, c.want, threadsOf(c.asked), "%+v", c)
		if c.set != 0 {
			require.EqualValues(t, c.set, natten_mps_get_num_threads(), "as it was set")
		}
	}
}
