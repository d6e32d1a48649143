// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// stencilTwins are the stencil kernels in Go.
var stencilTwins = stencilKernels{stencilDotsTwin, stencilSumsTwin}

func stencilDotsTwin(call unsafe.Pointer) {
	c := (*stencilCall)(call)
	offsets := unsafe.Slice((*int)(c.offsets.Pointer()), c.count)
	for i, start := range unsafe.Slice((*int)(c.starts.Pointer()), c.items) {
		vector := unsafe.Slice((*float32)(c.vectors.Add(i*c.vectorStep).Pointer()), 16*c.parts)
		dst := unsafe.Slice((*float32)(c.dst.Add(i*c.dstStep).Pointer()), c.count)
		for j, offset := range offsets {
			var sum float32
			for n, v := range unsafe.Slice((*float32)(c.rows.Add(start+offset).Pointer()), 16*c.parts) {
				sum += v * vector[n]
			}
			dst[j] = sum * *(*float32)(c.factors.Pointer())
		}
	}
}

func stencilSumsTwin(call unsafe.Pointer) {
	c := (*stencilCall)(call)
	offsets := unsafe.Slice((*int)(c.offsets.Pointer()), c.count)
	for i, start := range unsafe.Slice((*int)(c.starts.Pointer()), c.items) {
		weights := unsafe.Slice((*float32)(c.vectors.Add(i*c.vectorStep).Pointer()), c.count)
		factor := *(*float32)(c.factors.Add(i * c.factorStep).Pointer())
		dst := unsafe.Slice((*float32)(c.dst.Add(i*c.dstStep).Pointer()), 16*c.parts)
		for n := range dst {
			var sum float32
			for j, offset := range offsets {
				sum += weights[j] * *(*float32)(c.rows.Add(start + offset + n*float32Bytes).Pointer())
			}
			dst[n] = sum * factor
		}
	}
}

func needStencils(t *testing.T) *rand.Rand {
	r := needKernels(t)
	if simd.stencil == nil {
		t.Skip("not in this set")
	}
	return r
}

// stencilTrial is a call on memory of random sizes, and the same call on a copy of dst.
func stencilTrial(r *rand.Rand, parts, count, vector, written int) (c, twin *stencilCall, got, want numbers) {
	items, depth := 1+r.IntN(5), 16*parts
	var starts, offsets []int
	for range items {
		starts = append(starts, 4*r.IntN(3*depth))
	}
	for range count {
		offsets = append(offsets, 4*r.IntN(5*depth))
	}
	vectorStep, dstStep := vector+r.IntN(9), written+r.IntN(9)
	rows := guarded(r, 9*depth, normal(r))
	vectors, factors := guarded(r, items*vectorStep, normal(r)), guarded(r, items, normal(r))
	got = guarded(r, (items-1)*dstStep+written, normal(r))
	want = got.copy()
	c = &stencilCall{
		dst: got.address(), vectors: vectors.address(), rows: rows.address(),
		starts: hold(starts), offsets: hold(offsets),
		factors: factors.address(), items: items, count: count, parts: parts, dstStep: 4 * dstStep, vectorStep: 4 * vectorStep, factorStep: 4,
	}
	copied := *c
	copied.dst = want.address()
	return c, &copied, got, want
}

func TestStencilDots(t *testing.T) {
	r := needStencils(t)
	for _, parts := range []int{1, 2, 4, 8} {
		for count := 4; count <= 68; count += 4 {
			whole := wholeVectors(count)
			c, twin, got, want := stencilTrial(r, parts, count, 16*parts, whole)
			c.factorStep, twin.factorStep = 0, 0
			simd.stencil.dots(unsafe.Pointer(c))
			stencilTwins.dots(unsafe.Pointer(twin))
			for i := range c.items { // whole vectors are written
				at := i * c.dstStep / 4
				copy(want.v[at+count:at+whole], got.v[at+count:at+whole])
			}
			same(t, want, got, 1e-5, "parts %d count %d", parts, count)
		}
	}
}

func TestStencilSums(t *testing.T) {
	r := needStencils(t)
	for _, parts := range []int{1, 2, 4, 8} {
		for count := 1; count <= 33; count++ {
			c, twin, got, want := stencilTrial(r, parts, count, count, 16*parts)
			simd.stencil.sums(unsafe.Pointer(c))
			stencilTwins.sums(unsafe.Pointer(twin))
			same(t, want, got, 1e-5, "parts %d count %d", parts, count)
		}
	}
}

// withStencils runs a test with stencil kernels: those in Go if the processor has none,
// as it then has none for the blocks either that randomBlocks draws.
func withStencils(t *testing.T, f func(t *testing.T)) {
	if simd == nil {
		t.Skip("portable kernels")
	}
	given, changed := simd, *simd
	if changed.stencil == nil {
		changed.stencil, changed.block = &stencilTwins, &twins
	}
	simd = &changed
	defer func() { simd = given }()
	f(t)
}

func variantOf(t *testing.T, p core.Problem) string {
	n, err := p.Normalize()
	require.NoError(t, err)
	r, err := New().Prepare(n)
	require.NoError(t, err)
	return r.Variant()
}

func TestStencilsAreChosen(t *testing.T) {
	withStencils(t, func(t *testing.T) {
		p := plain(core.AttnForward, []int64{9, 9, 9}, []int64{3, 3, 3}, 2, 32)
		require.Contains(t, variantOf(t, p), "stencils")
		for name, change := range map[string]func(p *core.Problem){
			"many keys":         func(p *core.Problem) { p.Axes[0].Kernel = 4 },
			"one row":           func(p *core.Problem) { p.Axes[0].Kernel, p.Axes[1].Kernel = 1, 1 },
			"channels":          func(p *core.Problem) { p.HeadDim = 48 },
			"value channels":    func(p *core.Problem) { p.ValueDim = 8 },
			"additional tokens": func(p *core.Problem) { p.Extra = 1 },
			"bias":              func(p *core.Problem) { p.RPB = true },
			"half":              func(p *core.Problem) { p.DType = core.Float16 },
			"backward":          func(p *core.Problem) { p.Op = core.AttnBackward },
		} {
			q := p
			change(&q)
			require.NotContains(t, variantOf(t, q), "stencils", name)
		}
	})
}

func TestStencilsEqualReference(t *testing.T) {
	withStencils(t, func(t *testing.T) {
		for seed := range fewer(150) {
			r := rand.New(rand.NewPCG(61, uint64(seed)))
			tr := randomStencil(t, r)
			odd := r.IntN(2) == 0
			again := newTrial(t, r, tr.p, tr.sizes, odd)
			again.check(t, r, odd, fmt.Sprintf("seed %d: %+v sizes %v", seed, tr.p, tr.sizes))
		}
	})
}

// randomStencil draws a problem that is walked with stencils.
func randomStencil(t *testing.T, r *rand.Rand) *trial {
	for {
		p, sizes := randomBlocks(t, r)
		p.Op, p.DType, p.RPB = core.AttnForward, core.Float32, false
		p.HeadDim, p.ValueDim = 16<<r.IntN(4), 16<<r.IntN(4)
		for i := range p.Rank {
			if p.Axes[i].Kernel > 2 && r.IntN(3) == 0 {
				p.Axes[i].Stride = 1 + r.Int64N(p.Axes[i].Kernel)
			}
			if r.IntN(4) == 0 {
				p.Axes[i].QueryStep = 1 + r.Int64N(3)
			}
		}
		if strings.Contains(variantOf(t, p), "stencils") {
			return &trial{p: p, sizes: sizes}
		}
	}
}
