// SPDX-License-Identifier: MIT

package metal

import (
	"encoding/binary"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/shaders"
)

// runJob is a Job together with the memory that it points to. It is reused.
type runJob struct {
	job      Job
	blocks   [][paramsBytes]byte // parameters of each step
	bindings []Binding           // of all steps
	sizes    []byte              // int32 lengths, [batch][3]
}

func newRunJob(r *runner) *runJob {
	j := &runJob{blocks: make([][paramsBytes]byte, len(r.steps)), sizes: make([]byte, 16)}
	if r.problem.Ragged {
		j.sizes = make([]byte, max(16, 12*r.problem.Batch))
	}
	arguments := 0
	for i := range r.steps {
		arguments += 1 + len(r.steps[i].args)
	}
	j.job = Job{
		Memory:     r.problem.Memory,
		Scratch:    make([]int64, len(r.scratch)),
		Dispatches: make([]Dispatch, 0, len(r.steps)),
	}
	j.bindings = make([]Binding, 0, arguments)
	return j
}

// Run launches the plan's kernels, except those of gradients that are not given. For
// an empty batch it launches only the gradient of the relative position bias, which
// is a sum over the batch and therefore zero.
func (r *runner) Run(b *core.Buffers) error {
	k, err := r.kernels(r.layoutOf(b))
	if err != nil {
		return err
	}
	if k.instead != nil {
		return k.instead.Run(b)
	}
	j := r.jobs.Get().(*runJob)
	defer r.jobs.Put(j)
	r.fill(j, b, k.steps)
	if len(j.job.Dispatches) == 0 {
		return nil
	}
	return r.device.Run(&j.job)
}

// Launches describes what Run would launch.
func (r *runner) Launches(b *core.Buffers) (*Job, error) {
	j := newRunJob(r)
	k, err := r.kernels(r.layoutOf(b))
	if err != nil {
		return nil, err
	}
	if k.instead != nil {
		return k.instead.Launches(b)
	}
	r.fill(j, b, k.steps)
	return &j.job, nil
}

// Source returns the source of a kernel that Prepare or Launches has named.
func (r *runner) Source(function string) (string, error) {
	if x := r.step(function); x != nil {
		return shaders.Source(x.family, x.instance)
	}
	return "", core.Errorf(core.InvalidArgument, "%s is no kernel of this plan", function)
}

// step returns the step that runs a function, or nil.
func (r *runner) step(function string) *preparedStep {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.ready {
		if k.instead != nil {
			if x := k.instead.step(function); x != nil {
				return x
			}
		}
		for _, x := range k.steps {
			if x.function == function {
				return x
			}
		}
	}
	return nil
}

// fill writes the launches for the buffers into j.
func (r *runner) fill(j *runJob, b *core.Buffers, steps []*preparedStep) {
	j.job.Dispatches, j.bindings = j.job.Dispatches[:0], j.bindings[:0]
	clear(j.job.Scratch)
	r.fillSizes(j, b)
	for i, x := range steps {
		if !x.wanted(b) {
			continue
		}
		block := &j.blocks[i]
		*block = x.block
		putFlags(block[:], x.params.flags|x.givenFlags(b))
		first := len(j.bindings)
		j.bindings = append(j.bindings, Binding{Bytes: block[:]})
		for n := range x.args {
			j.bindings = append(j.bindings, r.bind(j, b, block[:], n, &x.args[n]))
		}
		j.job.Dispatches = append(j.job.Dispatches, Dispatch{
			Pipeline: x.pipeline, Function: x.function, Bindings: j.bindings[first:],
			Groups: x.groups, Threads: Size{x.threads, 1, 1},
		})
	}
}

func (r *runner) fillSizes(j *runJob, b *core.Buffers) {
	if !r.problem.Ragged {
		return
	}
	for sample := range r.problem.Batch {
		for i, a := range r.problem.SampleAxes(b.Sizes, sample) {
			binary.LittleEndian.PutUint32(j.sizes[4*(3*sample+int64(i)):], uint32(a.Length))
		}
	}
}

// wanted reports whether the step has something to compute.
func (x *step) wanted(b *core.Buffers) bool {
	if x.groups.Count() == 0 {
		return false
	}
	for _, role := range x.wants {
		if b.Given(role) {
			return true
		}
	}
	return len(x.wants) == 0
}

// gradientFlags are the flags of the tensors in a step's wants, by index.
var gradientFlags = [...]int{flagFirst, flagSecond, flagThird}

// givenFlags returns flags that tell the kernel which optional tensors are present.
func (x *step) givenFlags(b *core.Buffers) int {
	flags := 0
	for i, role := range x.wants {
		if b.Given(role) {
			flags |= gradientFlags[i]
		}
	}
	for i := range x.args {
		a := &x.args[i]
		switch {
		case a.kind != tensorArgument || !b.Given(a.role):
		case a.role == core.LSE && a.writes:
			flags |= flagLSE
		case a.role == core.DLSE:
			flags |= flagDLSE
		case a.role == core.DQuery:
			flags |= flagFirst
		}
	}
	return flags
}

// bind describes argument n of a step and writes its strides into block.
func (r *runner) bind(j *runJob, b *core.Buffers, block []byte, n int, a *argument) Binding {
	scratchAt := r.unused
	switch {
	case a.kind == sizesArgument:
		return Binding{Bytes: j.sizes}
	case a.kind == scratchArgument:
		scratchAt = a.scratch
		putStrides(block, n, r.scratch[a.scratch].strides)
	case a.kind == tensorArgument && b.Given(a.role):
		t := &b.Tensors[a.role]
		putStrides(block, n, r.strides(a, t))
		form := &r.tensors[a.role]
		low, high := form.span(t)
		if low == high { // no elements, so the address may be anything
			break
		}
		return Binding{Tensor: t, Role: a.role, Low: low, High: high, form: form, Writes: a.writes}
	}
	j.job.Scratch[scratchAt] = max(r.scratch[scratchAt].bytes, 1) // Metal has no empty buffers
	return Binding{Scratch: 1 + scratchAt, Writes: a.writes}
}

// strides returns the strides that a kernel reads: batch, three axes, heads.
func (r *runner) strides(a *argument, t *core.Tensor) [strideNumbers]int64 {
	s := &t.Strides
	switch a.role {
	case core.RPB:
		return [strideNumbers]int64{0, s[1], s[2], s[3], s[0]}
	case core.ExtraKey, core.ExtraValue:
		return [strideNumbers]int64{s[0], 0, 0, s[1], s[2]}
	case core.DRPB, core.DExtraKey, core.DExtraValue: // in the order of reduce's dimensions
		return [strideNumbers]int64{s[0], s[1], s[2], s[3], 0}
	}
	n := [strideNumbers]int64{s[0], s[1], s[2], s[3], s[4]}
	if a.perRow {
		for i := range r.problem.Axes {
			n[1+i] *= r.problem.Axes[i].QueryStep
		}
	}
	return n
}
