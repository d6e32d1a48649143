// SPDX-License-Identifier: MIT

// Package main is the C library: it exports package core under the names of
// include/natten_mps.h. It decodes structs, manages handles and converts errors and
// panics to statuses. It contains no arithmetic and no rules of its own.
package main

// #cgo CFLAGS: -DNATTEN_MPS_CGO -I${SRCDIR}/../include
// #include "header.h"
import "C"

import (
	"sync/atomic"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// version is set by the linker.
var version = "0.0.0-dev"

// versionText is a C copy, since the text must keep its address.
var versionText = C.CString(version)

// plans holds the plans that C refers to by handle.
var plans table[core.Plan]

func main() {}

//export natten_mps_version
func natten_mps_version() *C.char { return versionText }

//export natten_mps_abi_version
func natten_mps_abi_version() C.uint32_t { return C.NATTEN_MPS_ABI_VERSION }

//export natten_mps_abi_minimum
func natten_mps_abi_minimum() C.uint32_t { return C.NATTEN_MPS_ABI_MINIMUM }

//export natten_mps_set_num_threads
func natten_mps_set_num_threads(n C.int32_t, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		if n < 0 {
			return invalid("threads is %d (want >= 0)", n)
		}
		threads.Store(int32(n))
		return nil
	})
}

//export natten_mps_get_num_threads
func natten_mps_get_num_threads() C.int32_t {
	if n := threads.Load(); n != 0 {
		return C.int32_t(n)
	}
	return C.int32_t(threadsOf(0))
}

//export natten_mps_backend
func natten_mps_backend(index C.int32_t, info *C.natten_mps_backend_info, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		if index < 0 || int(index) >= len(backends) {
			return invalid("index is %d (want 0 to %d)", index, len(backends)-1)
		}
		b := backends[index]
		available, details := b.Available()
		var filled C.natten_mps_backend_info
		if available {
			filled.available = 1
		}
		writeText(filled.name[:], b.Name())
		writeText(filled.details[:], details)
		return store(info, &filled, &backendInfoLayout)
	})
}

//export natten_mps_supports
func natten_mps_supports(problem *C.natten_mps_problem, backend *C.char, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		p, name, err := decodeProblem(problem, backend)
		if err != nil {
			return err
		}
		normal, err := p.Normalize()
		if err != nil {
			return err
		}
		_, err = core.Choose(backends, name, normal)
		return err
	})
}

//export natten_mps_plan_create
func natten_mps_plan_create(problem *C.natten_mps_problem, backend *C.char, handle *C.natten_mps_plan, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		if handle == nil {
			return invalid("plan is NULL")
		}
		*handle = 0
		scratch.Room()
		p, name, err := decodeProblem(problem, backend)
		if err != nil {
			return err
		}
		plan, err := core.NewPlan(backends, name, p)
		if err != nil {
			return err
		}
		given, err := plans.add(plan)
		*handle = C.natten_mps_plan(given)
		return err
	})
}

//export natten_mps_plan_info_get
func natten_mps_plan_info_get(handle C.natten_mps_plan, info *C.natten_mps_plan_info, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		plan, err := plans.get(uint64(handle))
		if err != nil {
			return err
		}
		filled := C.natten_mps_plan_info{scratch_bytes: C.int64_t(plan.ScratchBytes())}
		writeText(filled.backend[:], plan.Backend)
		writeText(filled.variant[:], plan.Variant())
		return store(info, &filled, &planInfoLayout)
	})
}

//export natten_mps_run
func natten_mps_run(handle C.natten_mps_plan, args *C.natten_mps_args, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error {
		plan, err := plans.get(uint64(handle))
		if err != nil {
			return err
		}
		call := calls.Get().(*call)
		defer call.release()
		if err := call.decode(plan.Problem, args); err != nil {
			return err
		}
		return plan.Run(&call.buffers)
	})
}

//export natten_mps_plan_destroy
func natten_mps_plan_destroy(handle C.natten_mps_plan, out *C.natten_mps_error) C.int32_t {
	return guarded(out, func() error { return plans.remove(uint64(handle)) })
}

// threads is the last value passed to natten_mps_set_num_threads, or 0 for the
// default.
var threads atomic.Int32
