// SPDX-License-Identifier: MIT

package kern

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// Source describes rows of channels in a tensor. They are Step bytes apart.
type Source struct {
	P        core.Address
	Step     int
	Channels int
	DType    core.DType
}

// Rows moves rows of channels between tensors and memory with elements of type T, and converts
// them.
type Rows[T Number] struct {
	Set    *Set // nil: portable Go
	factor []T
	add    Strips[T]
	a, b   []T
}

// Load computes, with pitch in elements,
//
//	for r := range rows { for c := range s.Channels { dst[r*pitch+c] = s[r][c] * factor } }
func (x *Rows[T]) Load(dst []T, pitch int, s Source, rows int, factor T) {
	size, done := int(s.DType.Size()), 0
	if x.Set != nil && s.Channels >= 8 {
		done = s.Channels &^ 7
		x.factor = append(x.factor[:0], factor)
		x.Set.Load[s.DType](unsafe.Pointer(&dst[0]), s.P.Pointer(), unsafe.Pointer(&x.factor[0]), rows, done/8, pitch*Float32Bytes, s.Step, 0)
	}
	if done == s.Channels {
		return
	}
	for r := range rows {
		row := dst[r*pitch+done : r*pitch+s.Channels]
		Load(row, s.P.Add(r*s.Step+done*size), size, s.DType)
		if factor == 1 {
			continue
		}
		for i := range row {
			row[i] *= factor
		}
	}
}

// Store computes, with pitch and step in elements,
//
//	for r := range rows { for c := range s.Channels { s[r][c] = src[r*pitch+c] * factors[r*step] } }
func (x *Rows[T]) Store(s Source, src []T, pitch, rows int, factors []T, step int) {
	size, done := int(s.DType.Size()), 0
	if x.Set != nil && s.Channels >= 8 {
		done = s.Channels &^ 7
		x.Set.Store[s.DType](s.P.Pointer(), unsafe.Pointer(&src[0]), unsafe.Pointer(&factors[0]), rows, done/8,
			s.Step, pitch*Float32Bytes, step*Float32Bytes)
	}
	if done == s.Channels {
		return
	}
	for r := range rows {
		Store(s.P.Add(r*s.Step+done*size), size, s.DType, src[r*pitch+done:r*pitch+s.Channels], factors[r*step])
	}
}

// Add is Store that adds to s instead of overwriting it. The elements of s must be of type T and
// its channels a multiple of 8.
func (x *Rows[T]) Add(s Source, src []T, pitch, rows int, factors []T, step int) {
	size := SizeOf[T]()
	x.factor = append(x.factor[:0], 1)
	x.add.Set = x.Set
	x.add.Call.Dst, x.add.Call.Vectors, x.add.Call.Rows = s.P, AddressOf(&factors[0]), AddressOf(&src[0])
	x.add.Call.Factors, x.add.Call.Items, x.add.Call.Count, x.add.Call.Eights = AddressOf(&x.factor[0]), rows, 1, s.Channels/8
	x.add.Call.DstStep, x.add.Call.VectorStep, x.add.Call.Advance, x.add.Call.Add = s.Step, step*size, pitch*size, 1
	x.add.Sums()
}

// Dot is the dot product of the first rows of two sources.
func (x *Rows[T]) Dot(a, b Source) (sum T) {
	n := a.Channels
	if x.Set != nil && a.DType == core.Float32 && n%8 == 0 {
		return T(x.Set.Dot(a.P.Pointer(), b.P.Pointer(), n/8))
	}
	x.a, x.b = Grow(x.a, Padded(n)), Grow(x.b, Padded(n))
	x.Load(x.a, 0, a, 1, 1)
	x.Load(x.b, 0, b, 1, 1)
	for i, v := range x.a[:n] {
		sum += v * x.b[i]
	}
	return sum
}

// Transpose computes, with pitch in elements,
//
//	for c := range depth { for lane := range 8 { dst[c*pitch+lane] = rows[lane*depth+c] } }
func (x *Rows[T]) Transpose(dst, rows []T, depth, pitch int) {
	if x.Set != nil {
		x.Set.Panel.Transpose(unsafe.Pointer(&dst[0]), unsafe.Pointer(&rows[0]), depth/8, pitch*Float32Bytes, depth*Float32Bytes)
		return
	}
	r0, r1, r2, r3 := rows[:depth], rows[depth:][:depth], rows[2*depth:][:depth], rows[3*depth:][:depth]
	r4, r5, r6, r7 := rows[4*depth:][:depth], rows[5*depth:][:depth], rows[6*depth:][:depth], rows[7*depth:][:depth]
	for c := range depth {
		to := dst[c*pitch:][:8:8]
		to[0], to[1], to[2], to[3] = r0[c], r1[c], r2[c], r3[c]
		to[4], to[5], to[6], to[7] = r4[c], r5[c], r6[c], r7[c]
	}
}

// TransposeSource is Transpose of lanes rows of a source, directly from the tensor. It returns
// false, having done nothing, if no kernel can do this; there must be at least 8 lanes.
func (x *Rows[T]) TransposeSource(dst []T, s Source, lanes, pitch int) bool {
	if x.Set == nil || s.DType != core.Float32 || s.Channels%8 != 0 || lanes < 8 {
		return false
	}
	for lane := 0; lane < lanes; lane += 8 {
		at := min(lane, lanes-8)
		x.Set.Panel.Transpose(unsafe.Pointer(&dst[at]), s.P.Add(at*s.Step).Pointer(), s.Channels/8, pitch*Float32Bytes, s.Step)
	}
	return true
}

// Prefetches reports whether Prefetch does anything.
func (x *Rows[T]) Prefetches() bool { return x.Set != nil && x.Set.Prefetch != nil }

// Prefetch prefetches rows of a source that are needed soon. Rows of heads-last tensors are too
// far apart for the hardware prefetcher.
func (x *Rows[T]) Prefetch(s Source, rows int) {
	if x.Prefetches() {
		x.Set.Prefetch(s.P.Pointer(), rows, s.Step, s.Lines())
	}
}

// Lines is the number of cache lines per row.
func (s *Source) Lines() int { return CeilDiv(s.Channels*int(s.DType.Size()), LineBytes) }
