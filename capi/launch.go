// SPDX-License-Identifier: MIT

package main

// #include "header.h"
import "C"

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/metal"
)

// launcherOf returns the plan and its runner, which must be the GPU backend's.
func launcherOf(handle C.natten_mps_plan) (*core.Plan, metal.Launcher, error) {
	plan, err := plans.get(uint64(handle))
	if err != nil {
		return nil, nil, err
	}
	l, ok := plan.Runner().(metal.Launcher)
	if !ok {
		return nil, nil, core.Errorf(core.Unsupported, "the plan's backend is %s, which launches no kernels (want metal)", plan.Backend)
	}
	return plan, l, nil
}

//export natten_mps_plan_source
func natten_mps_plan_source(handle C.natten_mps_plan, function *C.char, text C.uintptr_t, capacity C.uint64_t, length *C.uint64_t, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		_, launcher, err := launcherOf(handle)
		if err != nil {
			return err
		}
		if function == nil || length == nil {
			return invalid("function and length are to be given, not NULL")
		}
		source, err := launcher.Source(C.GoString(function))
		if err != nil {
			return err
		}
		*length = C.uint64_t(len(source))
		if text != 0 && uint64(capacity) > uint64(len(source)) {
			to := unsafe.Slice((*byte)(core.Address(text).Pointer()), len(source)+1)
			to[copy(to, source)] = 0
		}
		return nil
	})
}

//export natten_mps_plan_launch
func natten_mps_plan_launch(handle C.natten_mps_plan, args *C.natten_mps_args, index C.int32_t, dispatch *C.natten_mps_dispatch, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		plan, launcher, err := launcherOf(handle)
		if err != nil {
			return err
		}
		call := calls.Get().(*call)
		defer call.release()
		if err := call.decode(plan.Problem, args); err != nil {
			return err
		}
		if err := plan.Accept(&call.buffers); err != nil {
			return err
		}
		job, err := launcher.Launches(&call.buffers)
		if err != nil {
			return err
		}
		return describe(job, int(index), dispatch)
	})
}

// describe writes one dispatch of a job to the caller's struct.
func describe(job *metal.Job, index int, to *C.natten_mps_dispatch) error {
	var filled dispatchCopy
	if err := load(&filled, to, &dispatchLayout); err != nil {
		return err
	}
	filled.count = int32(len(job.Dispatches))
	if index < 0 || index > 0 && index >= len(job.Dispatches) {
		return invalid("index is %d (want 0 to %d)", index, max(len(job.Dispatches)-1, 0))
	}
	if len(job.Dispatches) == 0 {
		return store(to, &filled, &dispatchLayout)
	}
	d := &job.Dispatches[index]
	filled.bindingsCount = int32(len(d.Bindings))
	filled.groups = [3]int64{int64(d.Groups.X), int64(d.Groups.Y), int64(d.Groups.Z)}
	filled.threads = [3]int64{int64(d.Threads.X), int64(d.Threads.Y), int64(d.Threads.Z)}
	writeText(filled.function[:], d.Function)
	needed := bindAll(job, d, &filled)
	filled.bytesLength = needed
	if needed > filled.bytesCapacity {
		return invalid("bytes_capacity is %d (want at least %d)", filled.bytesCapacity, needed)
	}
	return store(to, &filled, &dispatchLayout)
}

// bindAll describes the bindings and returns the total size of the constants in
// bytes. It copies those that fit the caller's memory.
func bindAll(job *metal.Job, d *metal.Dispatch, to *dispatchCopy) uint64 {
	const alignment = 16
	var used uint64
	for i := range d.Bindings {
		from, c := &d.Bindings[i], &to.bindings[i]
		switch {
		case from.Tensor != nil:
			c.kind, c.index = C.NATTEN_MPS_BIND_TENSOR, C.int32_t(from.Role)
		case from.Scratch > 0:
			c.kind, c.index = C.NATTEN_MPS_BIND_SCRATCH, C.int32_t(from.Scratch-1)
			c.length = C.int64_t(job.Scratch[from.Scratch-1])
		default:
			c.kind, c.offset, c.length = C.NATTEN_MPS_BIND_BYTES, C.int64_t(used), C.int64_t(len(from.Bytes))
			if end := used + uint64(len(from.Bytes)); to.bytes != 0 && end <= to.bytesCapacity {
				copy(unsafe.Slice((*byte)(to.bytes.Pointer()), end)[used:], from.Bytes)
			}
			used += (uint64(len(from.Bytes)) + alignment - 1) / alignment * alignment
		}
	}
	return used
}
