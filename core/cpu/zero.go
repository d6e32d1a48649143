// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"slices"

	"github.com/natten-mps/natten-mps/core"
)

// zero clears the positions of outputs that belong to no item: padding, and the
// gradients of queries that are not computed. What the walks write comes after it.
func (u *run[T]) zero() {
	u.stages = append(u.stages, stage{other: zeroing, count: u.p.Batch})
	u.runStages()
}

func (u *run[T]) zeroSample(sample int) {
	axes := u.p.SampleAxes(u.sizes, int64(sample))
	for role := range core.NumRoles {
		if u.tensors[role].given() && writes(u.p.Op, role) {
			u.zeroRole(role, sample, &axes)
		}
	}
}

// writes reports whether role is an output with a row for every position.
func writes(op core.Op, role core.Role) bool {
	if role == core.LSE {
		return op == core.AttnForward
	}
	if role == core.DRPB || role == core.DExtraKey || role == core.DExtraValue {
		return false
	}
	for _, q := range passesOf[op] {
		if slices.Contains(q.outputs, role) {
			return true
		}
	}
	return false
}

func (u *run[T]) zeroRole(role core.Role, sample int, axes *[3]core.Axis) {
	shape := u.p.Shape(role)
	x := &u.tensors[role]
	value, channels := 0.0, 1
	if role == core.LSE {
		value = math.Inf(-1)
	} else {
		channels = int(shape[5])
	}
	for n0 := range int(shape[1]) {
		in0 := computed(&axes[0], role, n0)
		for n1 := range int(shape[2]) {
			in1 := in0 && computed(&axes[1], role, n1)
			for n2 := range int(shape[3]) {
				if in1 && computed(&axes[2], role, n2) {
					continue
				}
				for head := range int(shape[4]) {
					fill(x.row(sample, n0, n1, n2, head), int(x.dtype.Size()), channels, x.dtype, value)
				}
			}
		}
	}
}

// computed reports whether the walks write the n-th position of role's tensor.
func computed(a *core.Axis, role core.Role, n int) bool {
	switch role {
	case core.DQuery:
		return int64(n) < a.Length && int64(n)%a.QueryStep == 0
	case core.DKey, core.DValue:
		return int64(n) < a.Length
	}
	return int64(n) < a.Outputs()
}
