// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

func needStrips(t *testing.T) *rand.Rand {
	r := needKernels(t)
	if simd.dots == nil {
		t.Skip("not in this set")
	}
	return r
}

// stripTrial is a call of dots or sums on memory of random sizes, and the same
// call on a copy of dst.
func stripTrial(r *rand.Rand, blocks, count, vector, written int) (c, twin *stripCall, got, want numbers) {
	items, depth := 1+r.IntN(4), 8*blocks
	advance, step := r.IntN(2)*(depth+r.IntN(9)), depth+r.IntN(9)
	vectorStep, dstStep := vector+r.IntN(9), written+r.IntN(9)
	rows := guarded(r, (items-1)*advance+max(count-1, 0)*step+depth, normal(r))
	vectors := guarded(r, items*vectorStep, normal(r))
	factors := guarded(r, items, normal(r))
	got = guarded(r, (items-1)*dstStep+written, normal(r))
	want = got.copy()
	c = &stripCall{
		dst: got.address(), vectors: vectors.address(), rows: rows.address(), factors: factors.address(), items: items, count: count, blocks: blocks,
		dstStep: 4 * dstStep, vectorStep: 4 * vectorStep, advance: 4 * advance, step: 4 * step, factorStep: 4 * r.IntN(2),
		add: r.IntN(2),
	}
	copied := *c
	copied.dst = want.address()
	return c, &copied, got, want
}

func TestDots(t *testing.T) {
	r := needStrips(t)
	for blocks := 1; blocks <= 9; blocks++ {
		for count := 1; count <= 33; count++ {
			c, twin, got, want := stripTrial(r, blocks, count, 8*blocks, padded(count))
			simd.dots(unsafe.Pointer(c))
			dots[float32](twin)
			for i := range c.items { // whole vectors are written
				at := i * c.dstStep / 4
				copy(want.v[at+count:at+padded(count)], got.v[at+count:at+padded(count)])
			}
			same(t, want, got, 1e-5, "blocks %d count %d", blocks, count)
		}
	}
}

func TestSums(t *testing.T) {
	r := needStrips(t)
	for blocks := 1; blocks <= 17; blocks++ {
		for count := range 10 {
			weightStep := 1 + r.IntN(5)
			c, twin, got, want := stripTrial(r, blocks, count, max(count, 1)*weightStep, 8*blocks)
			c.weightStep, twin.weightStep = 4*weightStep, 4*weightStep
			simd.sums(unsafe.Pointer(c))
			sums[float32](twin)
			same(t, want, got, 1e-5, "blocks %d count %d", blocks, count)
		}
	}
}

func TestStripGradients(t *testing.T) {
	r := needStrips(t)
	for count := 1; count <= 33; count++ {
		items, lanes := 1+r.IntN(4), padded(count)
		step := lanes + r.IntN(3)
		size := (items-1)*step + lanes
		rows, gradients := guarded(r, size, normal(r)), guarded(r, size, normal(r))
		wantRows, wantGradients := rows.copy(), gradients.copy()
		lses, deltas := guarded(r, items, normal(r)), guarded(r, items, normal(r))
		masks := make([]uint32, lanes)
		for i := range count {
			masks[i] = ^uint32(0)
		}
		simd.stripGradients(rows.p(), gradients.p(), unsafe.Pointer(&masks[0]), lses.p(), deltas.p(), items, lanes/8, 4*step)
		stripGradients(wantRows.v, wantGradients.v, lses.v, deltas.v, items, count, step)
		for i := range items {
			clear(wantRows.v[i*step+count : i*step+lanes])
			clear(wantGradients.v[i*step+count : i*step+lanes])
		}
		same(t, wantRows, rows, 1e-6, "weights, count %d", count)
		same(t, wantGradients, gradients, 1e-5, "gradients, count %d", count)
	}
}

func TestFinish(t *testing.T) {
	r := needStrips(t)
	special := []float32{0, 1, 0x1p-126, 1.5, math.MaxFloat32, float32(math.Inf(1)), float32(math.NaN()), 49}
	for vectors := 1; vectors <= 20; vectors++ {
		tops, lses := guarded(r, 8*vectors, normal(r)), guarded(r, 8*vectors, untouched)
		totals := guarded(r, 8*vectors, func() float32 {
			if r.IntN(3) == 0 {
				return special[r.IntN(len(special))]
			}
			return float32(math.Exp(20 * (r.Float64() - 0.5)))
		})
		wantLSEs, wantTotals := lses.copy(), totals.copy()
		simd.finish(lses.p(), tops.p(), totals.p(), vectors)
		finish(wantLSEs.v, tops.v, wantTotals.v)
		same(t, wantLSEs, lses, 1e-6, "lse of %d vectors", vectors)
		same(t, wantTotals, totals, 0, "1/total of %d vectors", vectors)
	}
}

// Every window of every kind of axis falls into one stretch, in order.
func TestStretchesCoverWindows(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for range 200 {
		a := core.Axis{Length: 1 + r.Int64N(60), Dilation: 1, QueryStep: 1 + r.Int64N(3), Causal: r.IntN(2) == 0}
		a.Kernel = 1 + r.Int64N(a.Length)
		a.Stride = 1 + r.Int64N(a.Kernel)
		l := newLine(a, 0)
		var lo, hi []int
		for n := range l.queries {
			from, to, _ := l.keysOf(n)
			lo, hi = append(lo, from), append(hi, to)
		}
		next := 0
		for _, s := range findStretches(nil, lo, hi) {
			require.Equal(t, next, s.item)
			for i := range s.items {
				require.Equal(t, lo[next+i], s.low+i*s.advance, "%+v query %d", a, next+i)
				require.Equal(t, hi[next+i]-lo[next+i], s.keys, "%+v query %d", a, next+i)
				part := s.within(next+i, next+i+5)
				require.Equal(t, stretch{next + i, min(5, s.items-i), lo[next+i], s.keys, s.advance}, part)
			}
			next += s.items
		}
		require.Equal(t, l.queries, next)
	}
}

// Strips and panels are two ways to the same results.
func TestStripsEqualPanels(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
		p := plain(op, []int64{150}, []int64{9}, 4, 40)
		p.KVHeads, p.ValueDim, p.Axes[0].Dilation = 2, 24, 2
		tr := newTrial(t, r, p, nil, false)
		n, err := tr.p.Normalize()
		require.NoError(t, err)
		want := stripless{New()}
		got := tr.run(t, New(), r, false)
		require.Equal(t, simd == nil || simd.dots != nil, striped(n))
		for role, a := range tr.run(t, want, r, false) {
			compare(t, a.values(), got[role].values(), 1e-6, role.String())
		}
	}
}

// stripless is the CPU backend without strips.
type stripless struct{ core.Backend }

func (stripless) Prepare(p *core.Problem) (core.Runner, error) {
	r := &runner[float32]{p: p}
	for _, q := range passesOf[p.Op][:min(2, len(passesOf[p.Op]))] {
		r.walks = append(r.walks, newWalk(p, q, float32Bytes))
	}
	r.runs.New = func() any { return &run[float32]{runner: r} }
	return r, nil
}
