// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// stripCall holds the arguments of the strip kernels, with steps in bytes, and
// memory of theirs; its layout is known to the generator.
type stripCall struct {
	dst, vectors, rows, factors core.Address
	items, count, blocks        int
	dstStep, vectorStep         int // to the next item
	advance, step               int // of rows, to the next item and within it
	factorStep, weightStep      int
	add                         int // not 0 if what dst holds stays in the sum
	rowsAhead, itemsAhead       int // from rows, and from vectors or dst, to what to ask for
	cursors                     [5]int
}

// dots is
//
//	for i := range items { for j := range count {
//		dst[i*dstStep+j] = factors[i*factorStep] * (vectors[i*vectorStep:] . rows[i*advance+j*step:]) } }
//
// over 8*blocks channels.
func dots[T number](c *stripCall) {
	size := elementSize[T]()
	for i := range c.items {
		dst, rows := c.dst.Add(i*c.dstStep), c.rows.Add(i*c.advance)
		vector := unsafe.Slice((*T)(c.vectors.Add(i*c.vectorStep).Pointer()), 8*c.blocks)
		factor := *(*T)(c.factors.Add(i * c.factorStep).Pointer())
		for j := range c.count {
			row := unsafe.Slice((*T)(rows.Add(j*c.step).Pointer()), len(vector))
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

// sums is
//
//	for i := range items { dst[i*dstStep:] = factors[i*factorStep] *
//		sum over j < count of vectors[i*vectorStep+j*weightStep] * rows[i*advance+j*step:]
//		plus, if add is not 0, dst[i*dstStep:] }
//
// for 8*blocks channels.
func sums[T number](c *stripCall) {
	size := elementSize[T]()
	for i := range c.items {
		factor := *(*T)(c.factors.Add(i * c.factorStep).Pointer())
		for n := 0; n < 8*c.blocks; n += 8 {
			var sum [8]T
			if c.count > 0 {
				weights, rows := c.vectors.Add(i*c.vectorStep), c.rows.Add(i*c.advance+n*size)
				accumulate8[T](unsafe.Pointer(&sum), weights.Pointer(), rows.Pointer(), c.step/size, c.count, c.weightStep/size, 1, 1)
			}
			dst := (*[8]T)(c.dst.Add(i*c.dstStep + n*size).Pointer())
			for k, v := range sum {
				if v *= factor; c.add != 0 {
					v += dst[k]
				}
				dst[k] = v
			}
		}
	}
}

// stripGradients is
//
//	for i := range items { for lane := range count {
//		rows[i*step+lane] = e**(rows[i*step+lane]-lses[i])
//		gradients[i*step+lane] = rows[i*step+lane] * (gradients[i*step+lane]-deltas[i]) } }
func stripGradients[T number](rows, gradients, lses, deltas []T, items, count, step int) {
	for i := range items {
		p, d := rows[i*step:][:count], gradients[i*step:][:count]
		exponential(p, lses[i])
		for lane, v := range p {
			d[lane] = v * (d[lane] - deltas[i])
		}
	}
}

// finish is
//
//	for i := range lses { lses[i] = tops[i] + log(totals[i]); totals[i] = 1/totals[i] }
func finish[T number](lses, tops, totals []T) {
	for i, v := range totals[:len(lses)] {
		lses[i], totals[i] = tops[i]+logarithm(v), 1/v
	}
}
