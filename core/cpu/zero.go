// SPDX-License-Identifier: MIT

package cpu

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
)

// zero clears the positions of outputs that no walk writes: padding, the gradients of queries
// that are not computed, and those of keys outside the ranges. The value is 0, and -infinity
// for lse. It finishes before the walks begin.
func (u *run) zero() {
	u.add(stage{work: zeroing, walk: walk.Stage{Count: u.in.Problem.Batch}})
	u.finish()
}

func (u *run) zeroSample(sample int) {
	axes := u.in.Problem.SampleAxes(u.in.Sizes, int64(sample))
	for role := range core.NumRoles {
		if u.in.Given(role) && dense(u.in.Problem, role) {
			u.zeroRole(role, sample, &axes)
		}
	}
}

// dense reports whether role is an output with a row for every position.
func dense(p *core.Problem, role core.Role) bool {
	switch role {
	case core.DRPB, core.DExtraKey, core.DExtraValue:
		return false
	}
	return p.Writes(role)
}

func (u *run) zeroRole(role core.Role, sample int, axes *[3]core.Axis) {
	shape := u.in.Problem.Shape(role)
	x := &u.in.Tensors[role]
	value, channels := 0.0, 1
	if role == core.LSE {
		value = math.Inf(-1)
	} else {
		channels = int(shape[5])
	}
	at := [3]along{{axis: &axes[0]}, {axis: &axes[1]}, {axis: &axes[2]}}
	for n0 := range int(shape[1]) {
		in0 := at[0].computed(role, n0)
		for n1 := range int(shape[2]) {
			in1 := in0 && at[1].computed(role, n1)
			for n2 := range int(shape[3]) {
				if in1 && at[2].computed(role, n2) {
					continue
				}
				for head := range int(shape[4]) {
					kern.Fill(x.Row(sample, n0, n1, n2, head), int(x.DType.Size()), channels, x.DType, value)
				}
			}
		}
	}
}

// along classifies the positions along one axis of a sample.
type along struct {
	axis    *core.Axis
	line    walk.Line // dilation group of residue, if known
	residue int64
	known   bool
}

// computed reports whether the walks write the n-th position of role's tensor.
func (x *along) computed(role core.Role, n int) bool {
	switch a := x.axis; role {
	case core.DQuery:
		return a.QueryFirst+int64(n) < a.QueryEnd() && int64(n)%a.QueryStep == 0
	case core.DKey, core.DValue:
		return a.KeyFirst+int64(n) < a.KeyEnd() && (!a.Ranged() || x.met(n))
	default:
		return int64(n) < a.Outputs()
	}
}

// met reports whether the n-th key is among those that the walks visit.
func (x *along) met(n int) bool {
	if residue := (x.axis.KeyFirst + int64(n)) % x.axis.Dilation; !x.known || residue != x.residue {
		x.line, x.residue, x.known = walk.NewLine(*x.axis, residue), residue, true
	}
	first := x.line.Key.First
	return n >= first && n < x.line.Key.At(x.line.Keys)
}
