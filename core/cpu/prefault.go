// SPDX-License-Identifier: MIT

package cpu

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/sched"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

const (
	largeOutput = 1 << 20 // bytes that are worth a look
	pieceBytes  = 1 << 20 // bytes of a task
)

// large is an output that may be worth the look.
type large struct {
	role  core.Role
	shape []int64
	size  int64 // bytes of its elements
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

// memory is what a tensor of the shape covers, or nothing unless its elements fill
// most of that.
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

// prefault asks for the pages of outputs that have none.
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
