// SPDX-License-Identifier: MIT

// Package conformance runs the table of problems on any implementation and compares
// the results with the reference, which computes in float64 from the same rounded
// inputs. It also detects writes outside the outputs, outputs that are not written,
// reads of padding or masked elements, and changed inputs.
package conformance

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/ref"
	"github.com/natten-mps/natten-mps/tests"
)

// Executor runs a problem on buffers in the form that a caller passes.
type Executor func(p core.Problem, b *core.Buffers) error

// Backend returns an Executor that uses a backend.
func Backend(backend core.Backend) Executor {
	return func(p core.Problem, b *core.Buffers) error {
		plan, err := core.NewPlan([]core.Backend{backend}, backend.Name(), p)
		if err != nil {
			return err
		}
		return plan.Run(b)
	}
}

// DTypes lists all element types.
var DTypes = []core.DType{core.Float32, core.Float16, core.BFloat16, core.Float64}

// Run tests an Executor on every case, operation and element type. With -short each
// case has one type, in rotation.
func Run(t *testing.T, execute Executor) {
	for number, c := range tests.Cases() {
		dtypes := DTypes
		if testing.Short() {
			dtypes = DTypes[number%len(DTypes):][:1]
		}
		t.Run(c.Name, func(t *testing.T) {
			for op := core.AttnForward; op.Valid(); op++ {
				for _, dtype := range dtypes {
					Check(t, execute, c.Problem(op, dtype), c.FlatSizes(), number+int(op)+int(dtype))
				}
			}
		})
	}
}

// Check tests an Executor on one problem, with sizes as in core.Buffers.
// Consecutive variants differ in the numbers, in the layout of the tensors and in
// the number of threads.
func Check(t *testing.T, execute Executor, p core.Problem, sizes []int64, variant int) {
	t.Helper()
	defer unmapEdges(t)
	e := newExperiment(p, sizes, variant, nil)
	name := p.Op.String() + " " + p.DType.String() + " " + e.layout.name
	var declined *core.Error
	if err := e.run(execute, nil); errors.As(err, &declined) && declined.Status == core.Unsupported {
		t.Logf("%s: %v", name, err)
		return
	} else if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	e.compare(t, name)
	for role := range core.NumRoles {
		if e.problem.Writes(role) && e.problem.Optional(role) {
			only := role
			require.NoError(t, e.run(execute, &only), name)
			e.compare(t, name+" "+role.String()+" alone")
		}
	}
}

// experiment is a problem with inputs and expected results.
type experiment struct {
	given   core.Problem // as the caller describes it, before normalization
	problem *core.Problem
	sizes   []int64
	threads int
	inputs  map[core.Role]*array
	outputs map[core.Role]*array
	want    map[core.Role]*array
	layout  layout
}

// newExperiment prepares an experiment. If spoil is not nil, it changes inputs before
// anything is computed from them, and no two of their elements share memory.
func newExperiment(given core.Problem, sizes []int64, variant int, spoil func(e *experiment, r *rand.Rand)) *experiment {
	p, err := given.Normalize()
	if err != nil {
		panic(err)
	}
	e := &experiment{
		given: given, problem: p, sizes: sizes,
		threads: 1 + variant%3,
		layout:  layouts[variant%len(layouts)],
		inputs:  map[core.Role]*array{},
	}
	if spoil != nil {
		e.layout.broadcast = false
	}
	random := rand.New(rand.NewPCG(uint64(variant), uint64(p.Op)))
	for role := range core.NumRoles {
		if p.Reads(role) {
			e.inputs[role] = newArray(p, role, e.layout)
			e.fill(role, func([6]int64) float64 { return random.NormFloat64() })
		}
	}
	if spoil != nil {
		spoil(e, random)
	}
	if p.Op == core.AttnBackward {
		forward := e.reference(core.AttnForward)
		for _, role := range []core.Role{core.Out, core.LSE} {
			e.fill(role, forward[role].get)
		}
	}
	e.want = e.reference(p.Op)
	return e
}

// fill sets the elements of an input that may be read.
func (e *experiment) fill(role core.Role, value func(i [6]int64) float64) {
	a := e.inputs[role]
	a.each(func(i [6]int64) {
		if e.live(role, i) {
			a.set(i, value(i))
		}
	})
}

// live reports whether an element matters: whether an input may be read, and whether
// an output is not a constant.
func (e *experiment) live(role core.Role, i [6]int64) bool {
	p := e.problem
	switch role {
	case core.RPB, core.DRPB, core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
		return true
	}
	axes := p.SampleAxes(e.sizes, i[0])
	slot := i[5]
	for axis := 2; axis >= 0; axis-- {
		a := &axes[axis]
		at := i[1+axis]
		switch role {
		case core.Query, core.DQuery:
			if at%a.QueryStep != 0 {
				return false
			}
			at += a.QueryFirst
		case core.Key, core.DKey, core.Value, core.DValue:
			if at += a.KeyFirst; a.Ranged() && at < a.Length && !seen(a, at) {
				return false
			}
		default:
			at = a.QueryFirst + at*a.QueryStep
		}
		if at >= a.Length {
			return false
		}
		if (role == core.Attn || role == core.DAttn) && i[5] < p.WindowSize() {
			w := a.Window(at)
			if position := w.Start + slot%a.Kernel; position < w.Lo || position >= w.Hi {
				return false
			}
			slot /= a.Kernel
		}
	}
	return true
}

// seen reports whether a query of the range sees the key at a position.
func seen(a *core.Axis, position int64) bool {
	q := a.Inverse(position)
	for n := range q.Count {
		if out := q.First + n*q.Step - a.QueryFirst/a.QueryStep; out >= 0 && out < a.Outputs() {
			return true
		}
	}
	return false
}

// reference computes an operation in float64 from the rounded inputs.
func (e *experiment) reference(op core.Op) map[core.Role]*array {
	given := e.given
	given.Op, given.DType = op, core.Float64
	if !given.HasScale { // the default is the operation's
		given.Scale, given.HasScale = e.problem.Scale, true
	}
	p, err := given.Normalize()
	if err != nil {
		panic(err)
	}
	b := core.Buffers{Sizes: e.sizes, Threads: 1}
	all, outputs := map[core.Role]*array{}, map[core.Role]*array{}
	for role := range core.NumRoles {
		switch {
		case p.Reads(role):
			all[role] = newArray(p, role, layout{})
			from := e.inputs[role]
			from.each(func(i [6]int64) { all[role].set(i, from.get(i)) })
		case p.Writes(role):
			all[role] = newArray(p, role, layout{})
			outputs[role] = all[role]
		default:
			continue
		}
		b.Tensors[role] = all[role].tensor(p.Rank)
	}
	if err := Backend(ref.New())(given, &b); err != nil {
		panic(err)
	}
	runtime.KeepAlive(all)
	return outputs
}

// run executes the problem with new outputs: all of them, or only one of the
// optional ones.
func (e *experiment) run(execute Executor, only *core.Role) error {
	b := core.Buffers{Sizes: e.sizes, Threads: e.threads}
	e.outputs = map[core.Role]*array{}
	before := map[core.Role][]byte{}
	for role, a := range e.inputs {
		before[role] = bytes.Clone(a.memory)
		b.Tensors[role] = a.tensor(e.problem.Rank)
	}
	for role := range core.NumRoles {
		left := only != nil && *only != role && e.problem.Optional(role)
		if e.problem.Writes(role) && !left {
			e.outputs[role] = newArray(e.problem, role, e.layout)
			b.Tensors[role] = e.outputs[role].tensor(e.problem.Rank)
		}
	}
	if err := execute(e.given, &b); err != nil {
		return err
	}
	for role, a := range e.inputs {
		if !bytes.Equal(before[role], a.memory) {
			return core.Errorf(core.Internal, "%v was changed", role)
		}
	}
	return nil
}

// compare checks all outputs, erases them, and then checks the memory around them.
func (e *experiment) compare(t *testing.T, name string) {
	t.Helper()
	for role, got := range e.outputs {
		tolerance := tests.Tolerance(e.problem.Op, got.dtype)
		largest, worst := 1.0, 0.0
		want := e.want[role]
		want.each(func(i [6]int64) {
			if w := want.get(i); e.live(role, i) && !math.IsInf(w, 0) {
				largest = math.Max(largest, math.Abs(w))
			}
		})
		wrong := 0
		got.each(func(i [6]int64) {
			g, w := got.get(i), want.get(i)
			got.wipe(got.element(i))
			distance := math.Abs(g-w) / largest
			if g == w {
				return
			}
			if e.live(role, i) && distance <= tolerance {
				worst = math.Max(worst, distance)
				return
			}
			if wrong++; wrong <= 3 {
				t.Errorf("%s: %v%v is %v, want %v (error %.3g of the largest, allowed %.3g)",
					name, role, i, g, w, distance, tolerance)
			}
		})
		for at, b := range got.memory {
			if b != unwritten {
				t.Errorf("%s: byte %d of %v's memory, outside the tensor, was written", name, at, role)
				return
			}
		}
	}
}
