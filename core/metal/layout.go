// SPDX-License-Identifier: MIT

package metal

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
)

// tensorCheck is what choosing a layout needs to know about a tensor.
type tensorCheck struct {
	role  core.Role
	shape [6]int64 // missing dimensions have length 1
	size  int64    // of an element, in bytes
	// channels is the index of the channel dimension, which kernels read and write 4
	// or 8 elements at a time. It is 0 for tensors without channels.
	channels int
}

// hasChannels lists the tensors whose last dimension is channels.
var hasChannels = map[core.Role]bool{
	core.Query: true, core.Key: true, core.Value: true, core.ExtraKey: true, core.ExtraValue: true,
	core.Out: true, core.DOut: true, core.DQuery: true, core.DKey: true, core.DValue: true,
}

func tensorChecks(p *core.Problem) []tensorCheck {
	checks := make([]tensorCheck, core.NumRoles)
	for role := range core.NumRoles {
		c := &checks[role]
		*c = tensorCheck{role: role, shape: [6]int64{1, 1, 1, 1, 1, 1}, size: p.ElementSize(role)}
		n := copy(c.shape[:], p.Shape(role))
		if hasChannels[role] {
			c.channels = n - 1
		}
	}
	return checks
}

// narrower is the next smaller alignment, in elements, for which there are kernels.
var narrower = [...]int{8: 4, 4: 1}

// span returns the byte range of a tensor relative to its first element. high is
// exclusive.
func (c *tensorCheck) span(t *core.Tensor) (low, high int64) {
	for i, n := range c.shape {
		if n == 0 {
			return 0, 0
		}
		if reach := t.Strides[i] * (n - 1) * c.size; reach < 0 {
			low += reach
		} else {
			high += reach
		}
	}
	return low, high + c.size
}

// copyElements copies a tensor's elements between two pieces of memory that start at
// its lowest byte. It does not copy the bytes between elements.
func (c *tensorCheck) copyElements(to, from []byte, t *core.Tensor) {
	low, _ := c.span(t)
	c.eachRow(t, 0, -low, func(at, bytes int64) { copy(to[at:at+bytes], from[at:at+bytes]) })
}

// eachRow calls f with the byte offset and length of each dense run in the dimensions
// from dim on. at is the byte offset of the first element.
func (c *tensorCheck) eachRow(t *core.Tensor, dim int, at int64, f func(at, bytes int64)) {
	if dim == len(c.shape) {
		f(at, c.size)
		return
	}
	if dim == c.channels && c.channels > 0 && t.Strides[dim] == 1 {
		f(at, c.shape[dim]*c.size)
		return
	}
	for i := range c.shape[dim] {
		c.eachRow(t, dim+1, at+i*t.Strides[dim]*c.size, f)
	}
}

// layoutOf returns the best layout that all given tensors permit.
func (r *runner) layoutOf(b *core.Buffers) layout {
	if r.layout != nil {
		return *r.layout
	}
	l := layout{vec: 8, wide: r.wide || r.problem.Outputs()*r.problem.Heads > math.MaxInt32} // offsets in lse_delta count, too
	for i := range r.tensors {
		c := &r.tensors[i]
		t := &b.Tensors[c.role]
		if t.Data == 0 {
			continue
		}
		l.wide = l.wide || c.wide(t)
		for l.vec > 1 && !c.aligned(t, r.problem.Memory, int64(l.vec)) {
			l.vec = narrower[l.vec]
		}
	}
	return l
}

// wide reports whether the offset of an element within its sample and head can exceed
// 32 bits. The position of the batch and head dimensions differs between tensors, so
// all dimensions count except the first, which is always one of the two.
func (c *tensorCheck) wide(t *core.Tensor) bool {
	var reach int64
	for i, n := range c.shape[1:] {
		stride := t.Strides[i+1]
		reach += max(stride, -stride) * (n - 1)
	}
	return reach > math.MaxInt32
}

// aligned reports whether every row of channels starts at a multiple of that many
// elements. A GPU buffer starts at such a multiple, so its offset counts; for host
// memory the address counts.
func (c *tensorCheck) aligned(t *core.Tensor, memory core.Memory, elements int64) bool {
	if c.channels == 0 {
		return true
	}
	start := t.Offset
	if memory == core.Host {
		start += int64(t.Data)
	}
	if start%(elements*c.size) != 0 {
		return false
	}
	for i, n := range c.shape[:c.channels] {
		if n > 1 && t.Strides[i]%elements != 0 {
			return false
		}
	}
	return true
}
