// SPDX-License-Identifier: MIT

package cpu

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

const (
	largeOutput = 1 << 20 // smallest output in bytes that is checked for missing pages
	pieceBytes  = 1 << 20 // bytes per task
)

// large is an output that is checked for missing pages.
type large struct {
	role  core.Role
	shape []int64
	size  int64 // total bytes of its elements
}

func largeOutputs(p *core.Problem) (found []large) {
	for role := range core.NumRoles {
		if !dense(p, role) {
			continue
		}
		x := large{role, p.Shape(role), p.ElementSize(role)}
		for _, n := range x.shape {
			x.size *= n
		}
		if x.size >= largeOutput {
			found = append(found, x)
		}
	}
	return found
}

// memory returns the range of memory that the tensor spans, or an empty one if the tensor has
// a negative stride or its elements fill less than two thirds of the range.
func (x *large) memory(t *walk.Tensor) sched.Piece {
	extent := int(t.DType.Size())
	for i, n := range x.shape {
		if t.Strides[i] < 0 {
			return sched.Piece{}
		}
		extent += int(n-1) * t.Strides[i]
	}
	if extent > int(x.size+x.size/2) {
		return sched.Piece{}
	}
	return sched.Piece{Address: uintptr(t.Base), Size: extent}
}

// prefault adds a stage that maps the pages of large outputs whose memory is not resident.
func (u *run) prefault() {
	u.missing = u.missing[:0]
	for i := range u.runner.large {
		x := &u.runner.large[i]
		if !u.in.Given(x.role) {
			continue
		}
		m := x.memory(&u.in.Tensors[x.role])
		for at := 0; at < m.Size; at += pieceBytes {
			if part := (sched.Piece{Address: m.Address + uintptr(at), Size: min(m.Size-at, pieceBytes)}); sched.NotResident(part) {
				u.missing = append(u.missing, part)
			}
		}
	}
	if len(u.missing) > 0 {
		u.add(stage{work: prefaulting, walk: walk.Stage{Count: int64(len(u.missing))}})
	}
}
