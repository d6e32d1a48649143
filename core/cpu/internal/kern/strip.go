// SPDX-License-Identifier: MIT

package kern

import (
	"math"
	"unsafe"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// Strips runs the kernels for windows that are single rows.
type Strips[T Number] struct {
	Set   *Set      // nil: portable Go
	Call  abi.Strip // arguments of Dots and Sums
	masks []uint32  // [lane] all ones for the keys of a window
}

// Dots computes dot products; see dots.
func (s *Strips[T]) Dots() {
	if s.Set != nil {
		s.Set.Strip.Dots(&s.Call)
		return
	}
	dots[T](&s.Call)
}

// Sums computes weighted sums of rows; see sums.
func (s *Strips[T]) Sums() {
	if s.Set != nil {
		s.Set.Strip.Sums(&s.Call)
		return
	}
	sums[T](&s.Call)
}

// Softmax computes, with x = weights[i*step:][:keys] and step in elements,
//
//	for i := range items {
//		max[i] = maximum of x
//		x = e**(x-max[i]); a maximum of -infinity counts as 0
//		sum[i] = sum of x }
//
// It may write weights up to a multiple of 8 keys.
func (s *Strips[T]) Softmax(weights, max, sum []T, items, keys, step int) {
	if s.Set != nil && keys > 0 {
		s.Set.Panel.Softmax(unsafe.Pointer(&weights[0]), s.KeyMask(keys), unsafe.Pointer(&max[0]),
			unsafe.Pointer(&sum[0]), items, 1, Padded(keys)/8, step*SizeOf[T](), 0)
		return
	}
	for i := range items {
		x := weights[i*step:][:keys]
		top := T(math.Inf(-1))
		for _, v := range x {
			if !(v <= top) {
				top = v
			}
		}
		max[i] = top
		if math.IsInf(float64(top), -1) {
			top = 0
		}
		sum[i] = ExpSum(x, top)
	}
}

// Gradients replaces logits by weights, using lse, and gradients of weights by gradients of
// logits; see stripGradients. It may write both up to a multiple of 8 keys.
func (s *Strips[T]) Gradients(weights, gradients, lse, delta []T, items, keys, step int) {
	if s.Set == nil {
		stripGradients(weights, gradients, lse, delta, items, keys, step)
		return
	}
	s.Set.Strip.Gradients(unsafe.Pointer(&weights[0]), unsafe.Pointer(&gradients[0]), s.KeyMask(keys),
		unsafe.Pointer(&lse[0]), unsafe.Pointer(&delta[0]), items, Padded(keys)/8, step*SizeOf[T]())
}

// LogSumExp is the last step of a softmax; see logSumExp. The slices must have room for a
// multiple of 8 items.
func (s *Strips[T]) LogSumExp(lse, max, sum []T, items int) {
	if s.Set == nil {
		logSumExp(lse[:items], max, sum)
		return
	}
	s.Set.Strip.LogSumExp(unsafe.Pointer(&lse[0]), unsafe.Pointer(&max[0]), unsafe.Pointer(&sum[0]), Padded(items)/8)
}

// KeyMask returns a mask for the given number of keys, padded to a multiple of 8 lanes.
func (s *Strips[T]) KeyMask(keys int) unsafe.Pointer {
	s.masks = Grow(s.masks, Padded(keys))
	for i := range s.masks {
		s.masks[i] = 0
		if i < keys {
			s.masks[i] = ^uint32(0)
		}
	}
	return unsafe.Pointer(unsafe.SliceData(s.masks))
}

// dots computes
//
//	for i := range items { for j := range count {
//		dst[i*dstStep+j] = factors[i*factorStep] * (vectors[i*vectorStep:] . rows[i*advance+j*step:]) } }
//
// over 8*eights channels.
func dots[T Number](c *abi.Strip) {
	size := SizeOf[T]()
	for i := range c.Items {
		dst, rows := c.Dst.Add(i*c.DstStep), c.Rows.Add(i*c.Advance)
		vector := unsafe.Slice((*T)(c.Vectors.Add(i*c.VectorStep).Pointer()), 8*c.Eights)
		factor := *(*T)(c.Factors.Add(i * c.FactorStep).Pointer())
		for j := range c.Count {
			row := unsafe.Slice((*T)(rows.Add(j*c.Step).Pointer()), len(vector))
			var a0, a1, a2, a3 T
			for n := 0; n < len(vector); n += 4 {
				x, y := vector[n:n+4:n+4], row[n:n+4:n+4]
				a0 += x[0] * y[0]
				a1 += x[1] * y[1]
				a2 += x[2] * y[2]
				a3 += x[3] * y[3]
			}
			*(*T)(dst.Add(j * size).Pointer()) = factor * (a0 + a1 + (a2 + a3))
		}
	}
}

// sums computes
//
//	for i := range items { dst[i*dstStep:] = factors[i*factorStep] *
//		sum over j < count of vectors[i*vectorStep+j*weightStep] * rows[i*advance+j*step:]
//		plus, if add is not 0, dst[i*dstStep:] }
//
// for 8*eights channels.
func sums[T Number](c *abi.Strip) {
	size := SizeOf[T]()
	for i := range c.Items {
		factor := *(*T)(c.Factors.Add(i * c.FactorStep).Pointer())
		for n := 0; n < 8*c.Eights; n += 8 {
			var sum [8]T
			if c.Count > 0 {
				weights, rows := c.Vectors.Add(i*c.VectorStep), c.Rows.Add(i*c.Advance+n*size)
				accumulate8[T](unsafe.Pointer(&sum), weights.Pointer(), rows.Pointer(), c.Step/size, c.Count, c.WeightStep/size, 1, 1)
			}
			dst := (*[8]T)(c.Dst.Add(i*c.DstStep + n*size).Pointer())
			for k, v := range sum {
				if v *= factor; c.Add != 0 {
					v += dst[k]
				}
				dst[k] = v
			}
		}
	}
}

// stripGradients computes
//
//	for i := range items { for lane := range count {
//		rows[i*step+lane] = e**(rows[i*step+lane]-lses[i])
//		gradients[i*step+lane] = rows[i*step+lane] * (gradients[i*step+lane]-deltas[i]) } }
func stripGradients[T Number](rows, gradients, lses, deltas []T, items, count, step int) {
	for i := range items {
		p, d := rows[i*step:][:count], gradients[i*step:][:count]
		ExpSum(p, lses[i])
		for lane, v := range p {
			d[lane] = v * (d[lane] - deltas[i])
		}
	}
}

// logSumExp computes
//
//	for i := range lses { lses[i] = max[i] + log(sums[i]); sums[i] = Inverse(sums[i]) }
func logSumExp[T Number](lses, max, sums []T) {
	for i, v := range sums[:len(lses)] {
		lses[i], sums[i] = max[i]+Log(v), Inverse(v)
	}
}
