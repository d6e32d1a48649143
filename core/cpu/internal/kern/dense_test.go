// SPDX-License-Identifier: MIT

package kern

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

func needDense(t testing.TB) *rand.Rand {
	r := needKernels(t)
	if active.Dense == nil {
		t.Skip("not in this set")
	}
	return r
}

func TestProduct(t *testing.T) {
	r := needDense(t)
	k := active.Dense
	for vectors := 1; vectors <= k.MostVectors; vectors++ {
		for rows := range 20 {
			for _, depth := range []int{0, 1, 2, 7, 33} {
				width := vectors * k.Lanes
				transposed := r.IntN(2) == 0
				aRow, aDepth := depth+r.IntN(5), 1
				if transposed {
					aRow, aDepth = 1, rows+r.IntN(5)
				}
				bDepth, cRow := width+r.IntN(9), width+r.IntN(9)
				a := guarded(r, rows*(aRow+1)+depth*(aDepth+1)+1, normal(r))
				b := guarded(r, depth*bDepth+width, normal(r))
				got := guarded(r, rows*cRow+width, normal(r))
				want := got.copy()
				c := abi.Product{
					A: a.address(), B: b.address(), C: got.address(), Rows: rows, Depth: depth, Vectors: vectors, Add: r.IntN(2),
					ARow: 4 * aRow, ADepth: 4 * aDepth, BDepth: 4 * bDepth, CRow: 4 * cRow,
				}
				twin := c
				twin.C = want.address()
				k.Product(&c)
				product(&twin, k.Lanes)
				same(t, want, got, 1e-5, "rows %d depth %d vectors %d transposed %v add %d", rows, depth, vectors, transposed, c.Add)
			}
		}
	}
}

// columnsTrial returns an argument with memory of random sizes, and the same argument with
// copies of the memory.
func columnsTrial(r *rand.Rand, rows, vectors int) (c, twin *abi.Columns, memory [4]numbers, copies [4]numbers) {
	width := vectors * active.Dense.Lanes
	row := width + r.IntN(9)
	for i, n := range []int{rows*row + width, rows*row + width, width, width} {
		memory[i] = guarded(r, n, normal(r))
		copies[i] = memory[i].copy()
	}
	numbers := guarded(r, max(rows, width)+1, func() float32 { return 3 + float32(r.NormFloat64()) })
	c = &abi.Columns{
		Weights: memory[0].address(), Gradients: memory[1].address(), Max: memory[2].address(), Sums: memory[3].address(),
		Offsets: numbers.address(), Deltas: numbers.address(), Rows: rows, Vectors: vectors, Row: 4 * row,
	}
	copied := *c
	copied.Weights, copied.Gradients = copies[0].address(), copies[1].address()
	copied.Max, copied.Sums = copies[2].address(), copies[3].address()
	return c, &copied, memory, copies
}

func TestColumns(t *testing.T) {
	r := needDense(t)
	k := active.Dense
	twins := DenseTwins(k.Lanes)
	for name, kernels := range map[string][2]func(*abi.Columns){
		"max": {k.Max, twins.Max}, "exp": {k.Exp, twins.Exp}, "exp rows": {k.ExpRows, twins.ExpRows},
		"gradients": {k.Gradients, twins.Gradients}, "gradient rows": {k.GradientRows, twins.GradientRows},
	} {
		for rows := range 9 {
			for vectors := range 6 {
				c, twin, memory, copies := columnsTrial(r, rows, vectors)
				kernels[0](c)
				kernels[1](twin)
				for i := range memory {
					same(t, copies[i], memory[i], 1e-6, "%s of %d rows of %d vectors, memory %d", name, rows, vectors, i)
				}
			}
		}
	}
}

// Masked scores get weight 0, and NaN stays NaN.
func TestExpOfExtremes(t *testing.T) {
	needDense(t)
	k := active.Dense
	weights, offsets, sums := make([]float32, k.Lanes), make([]float32, k.Lanes), make([]float32, k.Lanes)
	weights[0], weights[1], weights[2] = float32(math.Inf(-1)), float32(math.NaN()), 1
	offsets[2] = float32(math.Inf(1))
	k.Exp(&abi.Columns{
		Weights: AddressOf(&weights[0]), Offsets: AddressOf(&offsets[0]), Sums: AddressOf(&sums[0]), Rows: 1, Vectors: 1, Row: 4 * k.Lanes,
	})
	require.Zero(t, weights[0])
	require.True(t, math.IsNaN(float64(weights[1])))
	require.Zero(t, weights[2])
	require.InDelta(t, 1, weights[3], 1e-6)
	require.Equal(t, weights[3], sums[3])
}

func BenchmarkProduct(b *testing.B) {
	needDense(b)
	k := active.Dense
	for _, depth := range []int{32, 64, 96, 128} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			const rows = 96
			width := k.MostVectors * k.Lanes
			x, y, z := make([]float32, rows*depth), make([]float32, depth*width), make([]float32, rows*width)
			c := &abi.Product{
				A: AddressOf(&x[0]), B: AddressOf(&y[0]), C: AddressOf(&z[0]), Rows: rows, Depth: depth, Vectors: k.MostVectors,
				ARow: 4 * depth, ADepth: 4, BDepth: 4 * width, CRow: 4 * width,
			}
			for b.Loop() {
				k.Product(c)
			}
			b.ReportMetric(2*float64(rows*depth*width)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
		})
	}
}
