// SPDX-License-Identifier: MIT

package main

// #include "header.h"
import "C"

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// denseRoles are the tensor arguments of natten_mps_attention, in order.
var denseRoles = [4]core.Role{core.Query, core.Key, core.Value, core.Out}

//export natten_mps_attention
func natten_mps_attention(dtype, rank C.int32_t, shape, kernel *C.int64_t, query, key, value, result C.uintptr_t, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		plan, dense, err := planAttention(core.DType(dtype), int(rank), shape, kernel)
		if err != nil {
			return err
		}
		call := calls.Get().(*call)
		defer call.release()
		for i, data := range [4]C.uintptr_t{query, key, value, result} {
			call.buffers.Tensors[denseRoles[i]] = core.Tensor{Data: core.Address(data), Strides: dense}
		}
		call.buffers.Threads = grantedThreads(threadsOf(0))
		return plan.Run(&call.buffers)
	})
}

// planAttention returns the plan and the strides of the dense tensors.
func planAttention(dtype core.DType, rank int, shape, kernel *C.int64_t) (*core.Plan, [6]int64, error) {
	var dense [6]int64
	if rank < 1 || rank > 3 {
		return nil, dense, invalid("rank is %d (want 1, 2 or 3)", rank)
	}
	if shape == nil || kernel == nil {
		return nil, dense, invalid("shape or kernel is NULL")
	}
	sizes := unsafe.Slice((*int64)(unsafe.Pointer(shape)), rank+3)
	kernels := unsafe.Slice((*int64)(unsafe.Pointer(kernel)), rank)
	p := core.Problem{
		Op: core.AttnForward, DType: dtype, Rank: rank,
		Batch: sizes[0], Heads: sizes[rank+1], HeadDim: sizes[rank+2],
	}
	for i := range rank {
		p.Axes[i] = core.Axis{Length: sizes[1+i], Kernel: kernels[i]}
	}
	scratch.Room()
	plan, err := core.NewPlan(backends, core.Auto, p)
	stride := int64(1)
	for i := len(sizes) - 1; i >= 0; i-- {
		dense[i] = stride
		stride *= sizes[i]
	}
	return plan, dense, err
}

//export natten_mps_window_range
func natten_mps_window_range(axis *C.natten_mps_axis, out *C.natten_mps_range, failed *C.natten_mps_error) C.int32_t {
	return guarded(failed, func() error {
		if axis == nil {
			return invalid("axis is NULL")
		}
		if out == nil {
			return invalid("range is NULL")
		}
		a, err := decodeAxis(axis, false)
		if err != nil {
			return err
		}
		a.QueryFirst, a.QueryCount = int64(out.query_first), int64(out.query_count)
		if err := a.Normalize(0); err != nil {
			return err
		}
		r := a.RangeReach()
		out.query_count = C.int64_t(a.Queries())
		out.key_first, out.key_count = C.int64_t(r.First), C.int64_t(r.End-r.First)
		return nil
	})
}

//export natten_mps_window
func natten_mps_window(axis *C.natten_mps_axis, maskFirst C.int32_t, query C.int64_t, window *C.natten_mps_window_info, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		if axis == nil {
			return invalid("axis is NULL")
		}
		if maskFirst != 0 && maskFirst != 1 {
			return invalid("mask_first is %d (want 0 or 1)", maskFirst)
		}
		a, err := decodeAxis(axis, maskFirst == 1)
		if err != nil {
			return err
		}
		if err := a.Normalize(0); err != nil {
			return err
		}
		if query < 0 || int64(query) >= a.Length {
			return invalid("query is %d (want 0 to %d)", query, a.Length-1)
		}
		w := a.Window(int64(query))
		filled := C.natten_mps_window_info{
			first: C.int64_t(w.Residue + w.Lo*a.Dilation),
			count: C.int64_t(w.Hi - w.Lo),
			step:  C.int64_t(a.Dilation),
			slot:  C.int64_t(w.Lo - w.Start),
		}
		return store(window, &filled, &windowInfoLayout)
	})
}
