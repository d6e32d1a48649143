// SPDX-License-Identifier: MIT

//go:build cgo

package metal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests/conformance"
)

// runnerFor prepares a problem on a device that can only create pipelines.
func runnerFor(t *testing.T, p core.Problem) (*runner, *core.Problem) {
	t.Helper()
	normal, err := p.Normalize()
	require.NoError(t, err)
	device := exportDevice{map[string]string{}}
	prepared, err := New(func() (Device, error) { return device, nil }).Prepare(normal)
	require.NoError(t, err)
	return prepared.(*runner), normal
}

func halfProblem(memory core.Memory) core.Problem {
	p := core.Problem{
		Op: core.AttnForward, DType: core.Float16, Memory: memory, Rank: 2, Batch: 2, Heads: 3, HeadDim: 16,
	}
	p.Axes[0] = core.Axis{Length: 5, Kernel: 3}
	p.Axes[1] = core.Axis{Length: 7, Kernel: 3}
	return p
}

// The layout is the best one that every tensor permits.
func TestLayoutFollowsStridesAndOffsets(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(key *core.Tensor)
		want   layout
	}{
		{"dense", func(*core.Tensor) {}, layout{vec: 8}},
		{"offset of 8 bytes", func(k *core.Tensor) { k.Offset = 8 }, layout{vec: 4}},
		{"offset of 2 bytes", func(k *core.Tensor) { k.Offset = 2 }, layout{vec: 1}},
		{"rows 4 elements apart from 16 bytes", func(k *core.Tensor) { k.Strides[3] += 4 }, layout{vec: 4}},
		{"odd stride of heads", func(k *core.Tensor) { k.Strides[4]++ }, layout{vec: 1}},
		{"odd stride of an axis of one element", func(k *core.Tensor) { k.Strides[1] = 1 }, layout{vec: 8}},
		{"distant rows", func(k *core.Tensor) { k.Strides[2] = 1 << 29 }, layout{wide: true, vec: 8}},
		{"distant rows backwards", func(k *core.Tensor) { k.Strides[2] = -1 << 29 }, layout{wide: true, vec: 8}},
		{"distant samples", func(k *core.Tensor) { k.Strides[0] = 1 << 40 }, layout{vec: 8}},
	} {
		r, p := runnerFor(t, halfProblem(core.Metal))
		b := dense(p)
		c.change(&b.Tensors[core.Key])
		require.Equal(t, c.want, r.layoutOf(b), c.name)
	}
}

// The alignment of host memory depends on addresses, not only on offsets.
func TestLayoutOfHostMemoryFollowsAddresses(t *testing.T) {
	r, p := runnerFor(t, halfProblem(core.Host))
	b := dense(p)
	address := uintptr(b.Tensors[core.Key].Data)
	want := layout{vec: 1}
	switch {
	case address%16 == 0:
		want.vec = 8
	case address%8 == 0:
		want.vec = 4
	}
	require.Equal(t, want, r.layoutOf(b))
	for role := range core.NumRoles {
		if b.Given(role) {
			b.Tensors[role].Offset = int64(16 - address%16)
		}
	}
	require.Equal(t, layout{vec: 8}, r.layoutOf(b))
}

// A binding spans exactly the bytes that its strides reach.
func TestSpan(t *testing.T) {
	_, p := runnerFor(t, halfProblem(core.Metal))
	check := tensorChecks(p)[core.Key]
	k := dense(p).Tensors[core.Key]
	low, high := check.span(&k)
	require.Equal(t, []int64{0, 2 * 2 * 5 * 7 * 3 * 16}, []int64{low, high})
	k.Strides[0] = -k.Strides[0]
	low, high = check.span(&k)
	require.Equal(t, []int64{-2 * 5 * 7 * 3 * 16, 2 * 5 * 7 * 3 * 16}, []int64{low, high})
}

// Such head dimensions need many loads per lane.
func TestVeryLargeHeadDims(t *testing.T) {
	s := newSimulator(t, nil)
	for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
		p := core.Problem{Op: op, DType: core.Float32, Rank: 1, Batch: 1, Heads: 1, HeadDim: 1030, ValueDim: 4096}
		p.Axes[0] = core.Axis{Length: 4, Kernel: 3}
		conformance.Check(t, conformance.Backend(s.backend()), p, nil, 0)
	}
}

func TestThreadgroupsAreNearlyCubes(t *testing.T) {
	for _, c := range []struct {
		units, rows [3]int
		groups      int
		aspect      int
		want        [3]int
	}{
		{[3]int{1, 1, 1000}, [3]int{1, 1, 2}, 32, 1, [3]int{0, 0, 5}},
		{[3]int{1, 64, 32}, [3]int{1, 1, 2}, 32, 1, [3]int{0, 3, 2}},
		{[3]int{16, 16, 8}, [3]int{1, 1, 2}, 32, 1, [3]int{2, 2, 1}},
		{[3]int{16, 16, 16}, [3]int{2, 2, 2}, 4, 1, [3]int{0, 1, 1}},
		{[3]int{1, 2, 3}, [3]int{1, 1, 1}, 32, 1, [3]int{0, 1, 4}},
		{[3]int{1, 32, 32}, [3]int{1, 2, 2}, 16, 4, [3]int{0, 1, 3}},
		{[3]int{16, 8, 8}, [3]int{1, 2, 2}, 32, 4, [3]int{1, 1, 3}},
		{[3]int{1, 32, 2}, [3]int{1, 2, 2}, 16, 4, [3]int{0, 3, 1}},
	} {
		require.Equal(t, c.want, tile(c.units, c.rows, c.groups, c.aspect), "%+v", c)
	}
}
