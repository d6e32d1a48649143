// SPDX-License-Identifier: MIT

package main

// #include <string.h>
// #include "header.h"
import "C"

import (
	"math"
	"sync"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/scratch"
)

const knownFlags = C.NATTEN_MPS_SCALE | C.NATTEN_MPS_RPB | C.NATTEN_MPS_RAGGED | C.NATTEN_MPS_MASK_FIRST

func decodeProblem(from *problemStruct, backend *C.char) (core.Problem, string, error) {
	var c problemStruct
	if err := load(&c, from, &problemLayout); err != nil {
		return core.Problem{}, "", err
	}
	if c.flags&^knownFlags != 0 {
		return core.Problem{}, "", invalid("flags is %#x (want a sum of some of %#x)", uint32(c.flags), knownFlags)
	}
	if c.reserved != 0 {
		return core.Problem{}, "", invalid("reserved is %d (want 0)", c.reserved)
	}
	p := core.Problem{
		Op:       core.Op(c.op),
		DType:    core.DType(c.dtype),
		Memory:   core.Memory(c.memory),
		Rank:     int(c.rank),
		Batch:    int64(c.batch),
		Heads:    int64(c.heads),
		KVHeads:  int64(c.kv_heads),
		HeadDim:  int64(c.head_dim),
		ValueDim: int64(c.value_dim),
		Extra:    int64(c.extra),
		Scale:    float64(c.scale),
		HasScale: c.flags&C.NATTEN_MPS_SCALE != 0,
		RPB:      c.flags&C.NATTEN_MPS_RPB != 0,
		Ragged:   c.flags&C.NATTEN_MPS_RAGGED != 0,
	}
	for i := range min(max(p.Rank, 0), len(p.Axes)) {
		axis, err := decodeAxis(&c.axes[i], c.flags&C.NATTEN_MPS_MASK_FIRST != 0)
		if err != nil {
			return core.Problem{}, "", err
		}
		axis.Range = core.Range{
			QueryFirst: int64(c.ranges[i].query_first), QueryCount: int64(c.ranges[i].query_count),
			KeyFirst: int64(c.ranges[i].key_first), KeyCount: int64(c.ranges[i].key_count),
		}
		p.Axes[i] = axis
	}
	name, err := decodeBackend(backend)
	return p, name, err
}

func decodeAxis(c *C.natten_mps_axis, maskFirst bool) (core.Axis, error) {
	if c.causal != 0 && c.causal != 1 {
		return core.Axis{}, invalid("causal is %d (want 0 or 1)", c.causal)
	}
	if c.reserved != 0 {
		return core.Axis{}, invalid("reserved of an axis is %d (want 0)", c.reserved)
	}
	return core.Axis{
		Length:    int64(c.length),
		Kernel:    int64(c.kernel),
		Dilation:  int64(c.dilation),
		Stride:    int64(c.stride),
		QueryStep: int64(c.query_step),
		Causal:    c.causal == 1,
		MaskFirst: maskFirst,
	}, nil
}

// textAt converts a C string.
func textAt(a core.Address) string { return C.GoString((*C.char)(a.Pointer())) }

// decodeBackend reads at most as many bytes as the longest backend name can have.
func decodeBackend(name *C.char) (string, error) {
	if name == nil {
		return core.Auto, nil
	}
	const longest = 16 // bytes, including the NUL
	text := C.GoStringN(name, C.int(C.strnlen(name, longest)))
	if len(text) == longest {
		return "", invalid("backend is a text of %d or more characters, %q... (want the name of one)", longest, text)
	}
	return text, nil
}

var calls = sync.Pool{New: func() any {
	scratch.Room()
	return new(call)
}}

// release clears everything that the caller passed.
func (c *call) release() {
	*c = call{}
	calls.Put(c)
}

func (c *call) decode(p *core.Problem, from *argsStruct) error {
	if err := load(c, from, &argsLayout); err != nil {
		return err
	}
	if c.reserved != 0 {
		return invalid("reserved is %d (want 0)", c.reserved)
	}
	if c.numThreads < 0 {
		return invalid("num_threads is %d (want >= 0)", c.numThreads)
	}
	c.buffers.Threads = grantedThreads(threadsOf(c.numThreads))
	if c.buffers.Interrupt != 0 {
		c.buffers.Interrupted = interrupted(c.buffers.Interrupt, c.buffers.InterruptContext)
	}
	return c.decodeSizes(p)
}

// decodeSizes reads the lengths of a ragged batch. Package core reports missing
// sizes. The sizes of an empty batch are not read, because their address may be
// anything.
func (c *call) decodeSizes(p *core.Problem) error {
	if !p.Ragged || p.Batch == 0 || c.sizes == 0 {
		return nil
	}
	if p.Batch > math.MaxInt64/(8*3) {
		return invalid("batch is %d, whose sizes do not fit memory", p.Batch)
	}
	c.buffers.Sizes = unsafe.Slice((*int64)(c.sizes.Pointer()), p.Batch*int64(p.Rank))
	return nil
}

// threadsOf returns the number of threads of a run whose args request n.
func threadsOf(n int32) int {
	if n == 0 {
		n = threads.Load()
	}
	if most := processors(); n == 0 || int(n) > most {
		return most
	}
	return int(n)
}
