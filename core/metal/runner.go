// SPDX-License-Identifier: MIT

package metal

import (
	"errors"
	"sync"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/shaders"
)

// runner is a prepared problem.
type runner struct {
	problem *core.Problem
	backend *Backend
	device  Device
	tune    *tuning
	steps   []step
	scratch []scratch
	unused  int // index of the scratch buffer that stands for absent tensors
	tensors []tensorCheck
	jobs    sync.Pool // of *runJob
	wide    bool      // always use 64-bit offsets
	layout  *layout   // nil: chosen per run from the tensors

	mu    sync.Mutex
	ready map[layout]*kernels
}

// kernels are the prepared steps for one layout, or the runner that replaces them
// with plainer kernels.
type kernels struct {
	steps   []*preparedStep
	instead *runner
}

// preparedStep is a step with its kernel for one layout.
type preparedStep struct {
	step
	family   string
	instance shaders.Instance
	function string
	pipeline Pipeline
	block    [paramsBytes]byte // without strides
}

func (b *Backend) newRunner(p *core.Problem, device Device, tune *tuning) *runner {
	r := &runner{
		problem: p, backend: b, device: device, tune: tune, wide: b.wide, ready: map[layout]*kernels{},
	}
	r.steps, r.scratch = steps(p, tune)
	r.unused = len(r.scratch)
	r.scratch = append(r.scratch, scratch{bytes: 16})
	r.tensors = tensorChecks(p)
	r.jobs.New = func() any { return newRunJob(r) }
	return r
}

// kernels returns the kernels for a layout. They are compiled and checked when first
// needed.
func (r *runner) kernels(l layout) (*kernels, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.ready[l]; ok {
		return k, nil
	}
	k, err := r.find(l)
	if err == nil {
		r.ready[l] = k
	}
	return k, err
}

// find makes the kernels for a layout. It falls back to the plainest ones if the GPU
// refuses the tuned ones or computes wrong results with them.
func (r *runner) find(l layout) (*kernels, error) {
	steps, err := r.compile(l)
	if err == nil {
		err = r.backend.check.kernels(r, l, steps)
	}
	if err == nil {
		return &kernels{steps: steps}, nil
	}
	if r.tune == &plainest || !refusal(err) {
		return nil, err
	}
	plain := r.backend.newRunner(r.problem, r.device, &plainest)
	if _, plainErr := plain.kernels(l); plainErr != nil {
		return nil, err
	}
	why := err.Error()
	r.backend.refused.Store(&why)
	return &kernels{instead: plain}, nil
}

// refusal reports whether an error concerns the kernels themselves and is not
// transient.
func refusal(err error) bool {
	var known *core.Error
	return errors.As(err, &known) && known.Status == core.Unsupported
}

// Variant names the kernels for aligned rows and 32-bit offsets where these suffice.
func (r *runner) Variant() string {
	name := ""
	for i := range r.steps {
		if i > 0 {
			name += " "
		}
		name += r.steps[i].variant.instance().Name
	}
	return name
}

// ScratchBytes returns the size of the temporary buffers of a run that computes all
// outputs.
func (r *runner) ScratchBytes() int64 {
	var bytes int64
	for _, s := range r.scratch {
		bytes += s.bytes
	}
	return bytes
}

// compile prepares the steps for a layout. The error is core.Unsupported if the GPU
// refuses one.
func (r *runner) compile(l layout) ([]*preparedStep, error) {
	made := make([]*preparedStep, len(r.steps))
	for i := range r.steps {
		var err error
		if made[i], err = r.prepare(&r.steps[i], l); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// prepare compiles a step. If the pipeline supports fewer threads than planned, the
// step gets smaller threadgroups, and more of them.
func (r *runner) prepare(s *step, l layout) (*preparedStep, error) {
	v := s.at(l)
	instance := v.instance()
	pipeline, err := compile(r.device, v)
	if err != nil {
		return nil, err
	}
	x := &preparedStep{
		step: *s, family: v.family, instance: instance, function: instance.Name, pipeline: pipeline,
	}
	if limit := pipeline.MaxThreads(); limit < simdWidth {
		return nil, core.Errorf(core.Unsupported, "%s takes %d threads per threadgroup (want at least %d)",
			x.function, limit, simdWidth)
	} else if limit < x.threads {
		x.step = x.shrink(limit)
	}
	x.block = x.params.encode()
	return x, nil
}

func compile(device Device, v variant) (Pipeline, error) {
	instance := v.instance()
	var broken error
	p, err := device.Pipeline(instance.Name, func() string {
		source, err := shaders.Source(v.family, instance)
		broken = err
		return source
	})
	var known *core.Error
	switch {
	case broken != nil:
		return nil, core.Errorf(core.Internal, "%v", broken)
	case errors.As(err, &known) && known.Status == core.DeviceError:
		return nil, core.Errorf(core.Unsupported, "the GPU refuses %s: %v", instance.Name, err)
	}
	return p, err
}

// at returns the step's variant for a layout.
func (x *step) at(l layout) variant {
	v := x.variant
	v.layout = layout{wide: l.wide && v.function != "reduce", vec: min(l.vec, v.layout.vec)}
	return v
}
