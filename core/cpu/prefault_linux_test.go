// SPDX-License-Identifier: MIT

package cpu

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

func mapped(t *testing.T, size int) []byte {
	m, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Munmap(m)) })
	return m
}

// Outputs in newly mapped memory equal those in memory that was used before.
func TestLargeFreshOutputs(t *testing.T) {
	for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
		p := plain(op, []int64{5000}, []int64{5}, 2, 32)
		r := rand.New(rand.NewPCG(31, 32))
		tr := newTrial(t, r, p, nil, false)
		want := tr.run(t, New(), r, false)
		plan, err := core.NewPlan([]core.Backend{New()}, core.Auto, p)
		require.NoError(t, err)
		b := &core.Buffers{Threads: 2}
		for role, a := range tr.inputs {
			b.Tensors[role] = a.tensor()
		}
		fresh := map[core.Role][]byte{}
		for role, a := range want {
			x := a.tensor()
			fresh[role] = mapped(t, len(a.bytes()))
			x.Data = core.AddressOf(unsafe.Pointer(&fresh[role][0]))
			b.Tensors[role] = x
		}
		require.NoError(t, plan.Run(b))
		for role, a := range want {
			first := int(a.first * a.dtype.Size())
			size := len(a.values()) * int(a.dtype.Size()) // dense
			require.True(t, bytes.Equal(a.bytes()[first:first+size], fresh[role][first:first+size]), "%v", role)
		}
	}
}

func TestLargeOutputsAndTheirMemory(t *testing.T) {
	p, err := plain(core.AttnForward, []int64{5000}, []int64{5}, 2, 32).Normalize()
	require.NoError(t, err)
	found := largeOutputs(p)
	require.Len(t, found, 1) // lse is small
	require.Equal(t, core.Out, found[0].role)
	size := 5000 * 2 * 32 * 4
	dense := walk.Tensor{DType: core.Float32, Strides: [6]int{size, size, size, 256, 128, 4}}
	require.Equal(t, sched.Piece{Size: size}, found[0].memory(&dense))
	apart := dense
	apart.Strides[3] = 512
	require.Equal(t, sched.Piece{}, found[0].memory(&apart))
	back := dense
	back.Strides[3] = -256
	require.Equal(t, sched.Piece{}, found[0].memory(&back))
	small, err := plain(core.AttnForward, []int64{500}, []int64{5}, 2, 32).Normalize()
	require.NoError(t, err)
	require.Empty(t, largeOutputs(small))
}
