// SPDX-License-Identifier: MIT

package conformance

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests"
)

// Infinite tests an Executor on every step-th case with biases of -infinity, some of
// which leave rows with nothing to attend to, against the rules in the header.
func Infinite(t *testing.T, execute Executor, step int) {
	for number, c := range tests.Cases() {
		if number%step != 0 || testing.Short() && number%(4*step) != 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			c.RPB = true
			for _, op := range []core.Op{core.AttnForward, core.AttnBackward, core.QKForward, core.QKBackward} {
				dtype := DTypes[(number+int(op))%len(DTypes)]
				for variant := range 2 {
					e := newExperiment(c.Problem(op, dtype), c.FlatSizes(), number+variant, biasOut)
					e.check(t, execute, op.String()+" "+dtype.String())
				}
			}
		})
	}
}

// biasOut sets all bias entries of head 0, and half of those of other heads, to
// -infinity.
func biasOut(e *experiment, r *rand.Rand) {
	a := e.inputs[core.RPB]
	if a == nil {
		return
	}
	a.each(func(i [6]int64) {
		if i[0] == 0 || r.IntN(2) == 0 {
			a.set(i, math.Inf(-1))
		}
	})
}

// check runs an experiment once and compares.
func (e *experiment) check(t *testing.T, execute Executor, name string) {
	t.Helper()
	var declined *core.Error
	if err := e.run(execute, nil); errors.As(err, &declined) && declined.Status == core.Unsupported {
		t.Logf("%s: %v", name, err)
		return
	} else if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	e.compare(t, name)
}

// NaN tests an Executor on every step-th case with one NaN or infinity among the
// inputs: it must not be lost, and must reach only the outputs that the header allows.
func NaN(t *testing.T, execute Executor, step int) {
	for number, c := range tests.Cases() {
		if c.Batch == 0 || number%step != 0 || testing.Short() && number%(4*step) != 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			for op := core.AttnForward; op.Valid(); op++ {
				dtype := DTypes[(number+int(op))%len(DTypes)]
				p, err := c.Problem(op, dtype).Normalize()
				require.NoError(t, err)
				for role := range core.NumRoles {
					if p.Reads(role) && role != core.Out && role != core.LSE {
						poison(t, execute, c.Problem(op, dtype), c.FlatSizes(), role, number+int(role))
					}
				}
			}
		})
	}
}

// poison runs a problem in which one element of a role's tensor is not finite.
func poison(t *testing.T, execute Executor, p core.Problem, sizes []int64, role core.Role, variant int) {
	t.Helper()
	var at [6]int64
	v := math.NaN()
	if variant%3 == 0 {
		v = math.Inf(1)
	}
	e := newExperiment(p, sizes, variant, func(e *experiment, r *rand.Rand) {
		var candidates [][6]int64
		e.inputs[role].each(func(i [6]int64) {
			if e.live(role, i) {
				candidates = append(candidates, i)
			}
		})
		at = candidates[r.IntN(len(candidates))]
		e.inputs[role].set(at, v)
	})
	name := p.Op.String() + " " + p.DType.String() + " with " + role.String() + " not finite"
	var declined *core.Error
	if err := e.run(execute, nil); errors.As(err, &declined) && declined.Status == core.Unsupported {
		return
	} else if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	e.contained(t, name, role, at)
}

// contained compares values in other samples and key heads where the reference is
// finite. Where the reference is not finite, the result must not be finite either.
func (e *experiment) contained(t *testing.T, name string, role core.Role, at [6]int64) {
	t.Helper()
	for output, got := range e.outputs {
		tolerance, largest := tests.Tolerance(e.problem.Op, got.dtype), 1.0
		e.want[output].each(func(i [6]int64) {
			if w := e.want[output].get(i); e.live(output, i) && finite(w) {
				largest = math.Max(largest, math.Abs(w))
			}
		})
		wrong := 0
		e.want[output].each(func(i [6]int64) {
			if !e.live(output, i) {
				return
			}
			g, w := got.get(i), e.want[output].get(i)
			switch {
			case !finite(w):
				if !finite(g) || math.IsInf(w, 0) && math.Abs(g) > 1e4*largest {
					return
				}
			case math.Abs(g-w) <= tolerance*largest:
				return
			case !finite(g) && e.together(role, at, output, i):
				return
			}
			if wrong++; wrong <= 3 {
				t.Errorf("%s at %v: %v%v is %v, want %v", name, at, output, i, g, w)
			}
		})
	}
}

func finite(v float64) bool { return !math.IsInf(v, 0) && v == v }

// together reports whether elements belong to the same sample and key head.
func (e *experiment) together(role core.Role, at [6]int64, other core.Role, i [6]int64) bool {
	sample, head := e.sampleAndHead(role, at)
	otherSample, otherHead := e.sampleAndHead(other, i)
	return head == otherHead && (sample == otherSample || sample < 0 || otherSample < 0)
}

// sampleAndHead returns the sample and head of an element; sample is -1 if the tensor
// has none.
func (e *experiment) sampleAndHead(role core.Role, i [6]int64) (sample, kvHead int64) {
	switch role {
	case core.RPB, core.DRPB:
		return -1, i[0] / e.problem.Group()
	case core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
		return i[0], i[2]
	case core.Key, core.Value, core.DKey, core.DValue:
		return i[0], i[4]
	}
	return i[0], i[4] / e.problem.Group()
}
