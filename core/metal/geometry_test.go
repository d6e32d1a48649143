// SPDX-License-Identifier: MIT

package metal

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/metalrt"
	"github.com/natten-mps/natten-mps/shaders"
	"github.com/natten-mps/natten-mps/tests"
)

// probes are kernels that report what the headers compute: every parameter, and the
// window and inverse window of every position of axis 2.
const probes = `
kernel void probe_params(constant NaParams& p [[buffer(0)]], device long* out [[buffer(1)]],
                         uint i [[thread_position_in_grid]]) {
  if (i > 0) return;
  int n = 0;
  for (int i = 0; i < 3; i++) {
    constant NaAxis& a = p.axis[i];
    out[n++] = a.length; out[n++] = a.outputs; out[n++] = a.slots; out[n++] = a.dilation;
    out[n++] = a.stride; out[n++] = a.step; out[n++] = a.causal; out[n++] = a.mask_first;
    out[n++] = a.query_first; out[n++] = a.queries; out[n++] = a.key_first; out[n++] = a.keys;
  }
  for (int i = 0; i < 3; i++) out[n++] = p.units[i];
  for (int i = 0; i < 3; i++) out[n++] = p.tile[i];
  out[n++] = p.heads; out[n++] = p.group; out[n++] = p.extra; out[n++] = p.slots; out[n++] = p.batch;
  out[n++] = p.flags; out[n++] = p.splits; out[n++] = as_type<int>(p.scale);
  for (int i = 0; i < 4; i++) out[n++] = p.dims[i];
  for (int i = 0; i < NA_TENSORS; i++)
    for (int j = 0; j < 5; j++) out[n++] = p.stride[i][j];
  out[n++] = sizeof(NaParams);
  out[n++] = NA_THREADS;
}
kernel void probe_window(constant NaParams& p [[buffer(0)]], device int* out [[buffer(1)]],
                         uint i [[thread_position_in_grid]]) {
  constant NaAxis& a = p.axis[2];
  if (int(i) >= a.length) return;
  int index = int(i), residue = index % a.dilation, position = index / a.dilation;
  NaReach r = na_reach(a, na_group_length(a, a.length, residue), position);
  NaQueries q = na_inverse(a, a.length, index);
  out[6 * i] = r.start; out[6 * i + 1] = r.lo; out[6 * i + 2] = r.hi;
  out[6 * i + 3] = q.first; out[6 * i + 4] = q.step; out[6 * i + 5] = q.count;
}
`

// probing is the launch of a probe.
type probing struct {
	pipeline metalrt.ComputePipelineState
	block    []byte
	out      metalrt.Buffer
	groups   metalrt.Size
}

func (p *probing) Encode(e metalrt.ComputeCommandEncoder) error {
	e.SetComputePipelineState(p.pipeline)
	e.SetBytes(p.block, 0)
	e.SetBuffer(p.out, 0, 1)
	e.DispatchThreadgroups(&p.groups, &metalrt.Size{Width: simdWidth, Height: 1, Depth: 1})
	return nil
}

// probe runs a probe on at least as many threads as given and returns the values that
// it wrote.
func probe[T any](t *testing.T, g *GPU, name string, block []byte, threads, values int) []T {
	t.Helper()
	pipeline, err := g.Pipeline(name, func() string {
		source, err := shaders.Source("attn_fwd")
		require.NoError(t, err)
		return source + probes
	})
	require.NoError(t, err)
	var one T
	out, err := g.unit.Load().device.NewBuffer(values * int(unsafe.Sizeof(one)))
	require.NoError(t, err)
	defer out.Release()
	groups := metalrt.Size{Width: uint(threads+simdWidth-1) / simdWidth, Height: 1, Depth: 1}
	require.NoError(t, g.unit.Load().queue.EncodeAndWait(&probing{pipeline.(gpuPipeline).ComputePipelineState, block, out, groups}))
	return slices.Clone(unsafe.Slice((*T)(out.Contents()), values))
}

// The parameter block that Go writes matches the shaders' struct. Every number is
// different, so that a misplaced one is found.
func TestParameterBlockIsTheShaders(t *testing.T) {
	next := int64(0)
	number := func() int64 { next++; return next }
	var p params
	var want []int64
	for i := range p.axes {
		a := &p.axes[i]
		*a = core.Axis{Length: 1000 * number(), Kernel: number(), Dilation: number(), Stride: number(), QueryStep: number()}
		a.Causal, a.MaskFirst = i == 0, i == 1
		a.Range = core.Range{QueryFirst: number(), QueryCount: number(), KeyFirst: number(), KeyCount: number()}
		want = append(want, a.Length, a.Outputs(), a.Kernel, a.Dilation, a.Stride, a.QueryStep,
			int64(boolInt(a.Causal)), int64(boolInt(a.MaskFirst)), a.QueryFirst, a.QueryCount, a.KeyFirst, a.KeyCount)
	}
	set := func(fields ...*int) {
		for _, f := range fields {
			*f = int(number())
			want = append(want, int64(*f))
		}
	}
	set(&p.units[0], &p.units[1], &p.units[2], &p.tile[0], &p.tile[1], &p.tile[2])
	set(&p.heads, &p.group, &p.extra, &p.slots, &p.batch, &p.flags, &p.splits)
	p.scale = 1
	want = append(want, 0x3f800000)
	set(&p.dims[0], &p.dims[1], &p.dims[2], &p.dims[3])
	block := p.encode()
	for i := range maxTensors {
		var strides [strideNumbers]int64
		for j := range strides {
			strides[j] = -number() << 33
		}
		putStrides(block[:], i, strides)
		want = append(want, strides[:]...)
	}
	want = append(want, paramsBytes, threadsPerGroup)
	g, _ := simulated(t)
	require.Equal(t, want, probe[int64](t, g, "probe_params", block[:], 1, len(want)))
	putFlags(block[:], 77)
	require.Equal(t, uint32(77), binary.LittleEndian.Uint32(block[flagsOffset:]))
	require.LessOrEqual(t, paramsBytes, 4096, "setBytes takes no more")
}

// checkGeometry compares na_window.h with core.Axis on one axis.
func checkGeometry(t *testing.T, g *GPU, a core.Axis) {
	t.Helper()
	p := params{axes: [3]core.Axis{core.UnitAxis, core.UnitAxis, a}}
	block := p.encode()
	got := probe[int32](t, g, "probe_window", block[:], int(a.Length), 6*int(a.Length))
	for i := range a.Length {
		w, q := a.Window(i), a.Inverse(i)
		want := []int32{int32(w.Start), int32(w.Lo), int32(w.Hi), int32(q.First), int32(q.Step), int32(q.Count)}
		if q.Count == 0 { // First and Step have no meaning then
			want[3], want[4] = got[6*i+3], got[6*i+4]
		}
		require.Equal(t, want, got[6*i:6*i+6], fmt.Sprintf("%+v index %d", a, i))
	}
}

func TestWindowsOfShadersAreThoseOfCore(t *testing.T) {
	g, _ := simulated(t)
	for _, c := range tests.Cases() {
		problem := c.Problem(core.AttnForward, core.Float32)
		p, err := problem.Normalize()
		require.NoError(t, err)
		for _, a := range p.Axes {
			checkGeometry(t, g, a)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 600 {
		checkGeometry(t, g, randomAxis(r, 90))
	}
}

func randomAxis(r *rand.Rand, longest int64) core.Axis {
	length := 1 + r.Int64N(longest)
	dilation := 1 + r.Int64N(min(length, 9))
	kernel := 1 + r.Int64N(length/dilation)
	return core.Axis{
		Length: length, Kernel: kernel, Dilation: dilation,
		Stride: 1 + r.Int64N(kernel), QueryStep: 1 + r.Int64N(7),
		Causal: r.IntN(2) == 0, MaskFirst: r.IntN(2) == 0,
	}
}

func FuzzWindowsOfShaders(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		g, _ := simulated(t)
		checkGeometry(t, g, randomAxis(rand.New(rand.NewPCG(a, b)), 200))
	})
}
