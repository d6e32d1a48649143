// SPDX-License-Identifier: MIT

package kern

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// StencilTwins returns the Go twins of the stencil kernels.
func StencilTwins(lanes int) *StencilKernels {
	return &StencilKernels{
		Lanes: lanes,
		Dots:  func(call *abi.Stencil) { stencilDots(call, lanes) },
		Sums:  func(call *abi.Stencil) { stencilSums(call, lanes) },
	}
}

// stencilDots computes
//
//	for i := range items { for j := range count { dst[i*dstStep+j] = *factors *
//		sum over c < lanes*vectorful of vectors[i*vectorStep+c] * rows[starts[i]+offsets[j]+c] } }
//
// where count is a multiple of 4. A kernel may write dst up to a whole vector.
func stencilDots(c *abi.Stencil, lanes int) {
	offsets, channels := unsafe.Slice((*int)(c.Offsets.Pointer()), c.Count), lanes*c.Vectorful
	for i, start := range unsafe.Slice((*int)(c.Starts.Pointer()), c.Items) {
		vector := unsafe.Slice((*float32)(c.Vectors.Add(i*c.VectorStep).Pointer()), channels)
		dst := unsafe.Slice((*float32)(c.Dst.Add(i*c.DstStep).Pointer()), c.Count)
		for j, offset := range offsets {
			var sum float32
			for n, v := range unsafe.Slice((*float32)(c.Rows.Add(start+offset).Pointer()), channels) {
				sum += v * vector[n]
			}
			dst[j] = sum * *(*float32)(c.Factors.Pointer())
		}
	}
}

// stencilSums computes
//
//	for i := range items { for c := range lanes*vectorful { dst[i*dstStep+c] = factors[i*factorStep] *
//		sum over j < count of vectors[i*vectorStep+j] * rows[starts[i]+offsets[j]+c] } }
func stencilSums(c *abi.Stencil, lanes int) {
	offsets := unsafe.Slice((*int)(c.Offsets.Pointer()), c.Count)
	for i, start := range unsafe.Slice((*int)(c.Starts.Pointer()), c.Items) {
		weights := unsafe.Slice((*float32)(c.Vectors.Add(i*c.VectorStep).Pointer()), c.Count)
		factor := *(*float32)(c.Factors.Add(i * c.FactorStep).Pointer())
		dst := unsafe.Slice((*float32)(c.Dst.Add(i*c.DstStep).Pointer()), lanes*c.Vectorful)
		for n := range dst {
			var sum float32
			for j, offset := range offsets {
				sum += weights[j] * *(*float32)(c.Rows.Add(start + offset + n*Float32Bytes).Pointer())
			}
			dst[n] = sum * factor
		}
	}
}
