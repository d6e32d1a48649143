// SPDX-License-Identifier: MIT

package main

import "github.com/natten-mps/natten-mps/core"

// engine is the CPU engine of a library, or the one that is linked into this program.
type engine interface {
	// plan makes a plan and returns its description.
	plan(p *core.Problem) (plan uint64, info string, err error)
	run(plan uint64, a *arguments) error
	destroy(plan uint64)
}

// cTensor is natten_mps_tensor. core.Tensor has the same layout, although its address
// has another type.
type cTensor struct {
	data    uintptr
	offset  int64
	strides [6]int64
}

// arguments is natten_mps_args.
type arguments struct {
	size                 uint64
	numThreads, reserved int32
	sizes                *int64
	tensors              [core.NumRoles]cTensor
}
