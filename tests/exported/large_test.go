// SPDX-License-Identifier: MIT

//go:build linux && !386 && !arm

package exported

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// Tests strides and offsets beyond 32 bits, in a mapping of which few pages are used:
// the second sample starts 2^32 elements after the first.
func TestIndicesAreOf64Bits(t *testing.T) {
	const (
		apart = 1 << 32 // elements
		room  = 1 << 16 // bytes per tensor and sample
		roles = int(core.NumRoles)
	)
	memory, err := syscall.Mmap(-1, 0, apart*4+roles*room, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		t.Skipf("no 16 GiB of addresses: %v", err)
	}
	defer func() { require.NoError(t, syscall.Munmap(memory)) }()
	const length, heads, dim = 50, 3, 20
	sample := func(role core.Role, n int) []float32 {
		at := int(role)*room + n*apart*4
		elements := length * heads * dim
		if role == core.LSE {
			elements = length * heads
		}
		return unsafe.Slice((*float32)(unsafe.Pointer(&memory[at])), elements)
	}
	b := core.Buffers{Threads: 2}
	for role := range core.NumRoles {
		t := &b.Tensors[role]
		*t = core.Tensor{Data: core.AddressOf(unsafe.Pointer(&memory[0])), Offset: int64(role) * room, Strides: [6]int64{apart, heads * dim, dim, 1}}
		if role == core.LSE {
			t.Strides = [6]int64{apart, heads, 1}
		}
		if role%2 == 1 { // samples in reverse order, with a negative stride
			t.Offset += apart * 4
			t.Strides[0] = -apart
		}
		for n := range 2 {
			for i := range sample(role, n) {
				sample(role, n)[i] = float32(i%23)/23 - float32(role)/18
			}
		}
	}
	b.Tensors[core.DLSE] = core.Tensor{}
	p := core.Problem{
		DType: core.Float32, Rank: 1, Batch: 2, Heads: heads, HeadDim: dim,
		Axes: [3]core.Axis{{Length: length, Kernel: 7, Dilation: 3}},
	}
	outputsOf := [][]core.Role{core.AttnForward: {core.Out, core.LSE}, core.AttnBackward: {core.DQuery, core.DKey, core.DValue}}
	for p.Op = core.AttnForward; p.Op <= core.AttnBackward; p.Op++ {
		outputs := outputsOf[p.Op]
		require.NoError(t, execute(t, "native")(p, &b))
		got := map[core.Role][]float32{}
		for _, role := range outputs {
			require.Equal(t, sample(role, 0), sample(role, 1), "%v of equal samples", role)
			got[role] = append(got[role], sample(role, 0)...)
			clear(sample(role, 0))
		}
		require.NoError(t, execute(t, "reference")(p, &b))
		for _, role := range outputs {
			require.InDeltaSlice(t, sample(role, 0), got[role], 1e-5, "%v", role)
			require.NotZero(t, sample(role, 0)[0], "%v", role)
		}
	}
}
