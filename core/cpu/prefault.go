// SPDX-License-Identifier: MIT

package cpu

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
)

const (
	largeOutput = 1 << 20 // bytes that are worth a look
	freshPiece  = 1 << 20 // bytes of a task
)

// large is an output that may be worth the look.
type large struct {
	role  core.Role
	shape []int64
	size  int64 // bytes of its elements
}

func largeOutputs(p *core.Problem) (found []large) {
	for role := range core.NumRoles {
		if !writes(p.Op, role) {
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

// memory is what a tensor of the shape covers, or nothing unless its elements fill
// most of that.
func (x *large) memory(t *tensor) sched.Piece {
	extent := int(t.dtype.Size())
	for i, n := range x.shape {
		if t.strides[i] < 0 {
			return sched.Piece{}
		}
		extent += int(n-1) * t.strides[i]
	}
	if extent > int(x.size+x.size/2) {
		return sched.Piece{}
	}
	return sched.Piece{Address: uintptr(t.base), Size: extent}
}

// prefault asks for the pages of outputs that have none.
func (u *run[T]) prefault() {
	u.fresh = u.fresh[:0]
	for i := range u.large {
		x := &u.large[i]
		if !u.tensors[x.role].given() {
			continue
		}
		m := x.memory(&u.tensors[x.role])
		for at := 0; at < m.Size; at += freshPiece {
			if part := (sched.Piece{Address: m.Address + uintptr(at), Size: min(m.Size-at, freshPiece)}); sched.NotResident(part) {
				u.fresh = append(u.fresh, part)
			}
		}
	}
	if len(u.fresh) > 0 {
		u.stages = append(u.stages, stage{other: prefaulting, count: int64(len(u.fresh))})
	}
}
