// SPDX-License-Identifier: MIT

package metal

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/ref"
)

// The outputs are interleaved, like gradients that are views of one tensor. Between
// them are words that belong to someone else and must not change. The outputs are
// written in place, or copied back if Metal refuses to wrap the pages.
func TestInterleavedOutputs(t *testing.T) {
	const length, dim, parts = 12, 8, 4 // the last part belongs to someone else
	p := core.Problem{
		Op: core.AttnBackward, DType: core.Float32, Rank: 1, Batch: 2, Heads: 2, HeadDim: dim,
		Axes: [3]core.Axis{{Length: length, Kernel: 5}},
	}
	const elements = 2 * length * 2 * dim
	random := rand.New(rand.NewPCG(1, 2))
	inputs := map[core.Role][]float32{}
	for _, role := range []core.Role{core.Query, core.Key, core.Value, core.Out, core.DOut, core.LSE} {
		inputs[role] = make([]float32, elements)
		for i := range inputs[role] {
			inputs[role][i] = random.Float32()
		}
	}
	address := func(memory []float32) core.Address { return core.AddressOf(unsafe.Pointer(&memory[0])) }
	gradients := func(backend core.Backend) []float32 {
		memory := make([]float32, parts*elements)
		for i := range memory {
			memory[i] = -7
		}
		b := &core.Buffers{Threads: 1}
		for role, values := range inputs {
			b.Tensors[role] = core.Tensor{Data: address(values), Strides: [6]int64{length * 2 * dim, 2 * dim, dim, 1}}
		}
		b.Tensors[core.LSE].Strides = [6]int64{length * 2, 2, 1}
		for i, role := range []core.Role{core.DQuery, core.DKey, core.DValue} {
			b.Tensors[role] = core.Tensor{ // negative strides along the axis
				Data: address(memory), Offset: int64(4 * dim * (i + parts*2*(length-1))),
				Strides: [6]int64{parts * length * 2 * dim, -parts * 2 * dim, parts * dim, 1},
			}
		}
		plan, err := core.NewPlan([]core.Backend{backend}, backend.Name(), p)
		require.NoError(t, err)
		require.NoError(t, plan.Run(b))
		runtime.KeepAlive(inputs)
		return memory
	}
	want := gradients(ref.New())
	for _, fail := range []string{"", "wrap"} {
		_, s := simulated(t)
		require.NoError(t, s.Set("fail", fail))
		require.InDeltaSlice(t, want, gradients(OnSystem()), 1e-4, "fail=%s", fail)
	}
}
