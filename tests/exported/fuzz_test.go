// SPDX-License-Identifier: MIT

package exported

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// over copies bytes over a struct that is followed by plenty of its own memory, so
// that a wrong size does not lead out of that memory.
func over[T any](data []byte, at int) *T {
	memory := make([]uint64, 1<<12)
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&memory[0])), len(memory)*8)
	if at < len(data) {
		copy(bytes[:unsafe.Sizeof(*new(T))], data[at:])
	}
	return (*T)(unsafe.Pointer(&memory[0]))
}

// Arbitrary bytes in any struct lead to a status, never to a crash. Plans are created
// but run with NULL tensors only, since an arbitrary address cannot be checked.
func FuzzCAPI(f *testing.F) {
	valid := *tiny()
	f.Add(unsafe.Slice((*byte)(unsafe.Pointer(&valid)), unsafe.Sizeof(valid)))
	valid.op, valid.rank, valid.flags = 4, 3, 15
	f.Add(unsafe.Slice((*byte)(unsafe.Pointer(&valid)), unsafe.Sizeof(valid)))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		problem := over[cProblem](data, 0)
		e := over[cError](data, len(data)/2)
		e.size %= 1 << 13
		known := func(status int32) int32 {
			require.True(t, status >= 0 && status < int32(core.Internal), "status %d: %s", status, text(e.message[:]))
			return status
		}
		var plan uint64
		known(library.supports(problem, over[byte](data, len(data)/3), e))
		if known(library.planCreate(problem, nil, &plan, e)) == 0 {
			args := over[cArgs](data, len(data)/4)
			args.sizes, args.tensors = nil, [core.NumRoles]core.Tensor{}
			known(library.run(plan, args, e))
			known(library.planInfoGet(plan, over[cPlanInfo](data, 8), e))
			known(library.planDestroy(plan, e))
		}
		for i := range problem.axes {
			known(library.window(&problem.axes[i], problem.flags, problem.batch, over[cWindowInfo](data, 3), e))
			known(library.windowRange(&problem.axes[i], &problem.ranges[i], e))
		}
		known(library.backend(problem.rank, over[cBackendInfo](data, 5), e))
		known(library.setNumThreads(problem.op, e))
		require.Zero(t, library.setNumThreads(0, nil))
	})
}
