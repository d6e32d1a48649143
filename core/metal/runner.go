// SPDX-License-Identifier: MIT

package metal

import (
	"sync"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/shaders"
)

// compile prepares the steps for the layout that most runs have.
func (r *runner) compile() error {
	for i := range r.steps {
		if _, err := r.prepared(i, layout{vec: 8, wide: r.wide}); err != nil {
			return err
		}
	}
	return nil
}

// runner is a prepared problem.
type runner struct {
	problem *core.Problem
	device  Device
	steps   []step
	scratch []scratch
	unused  int // index of the scratch buffer that stands for absent tensors
	tensors []tensorCheck
	jobs    sync.Pool // of *runJob
	wide    bool      // always

	mu    sync.Mutex
	ready map[stepKey]*preparedStep
}

type stepKey struct {
	step   int
	layout layout
}

// preparedStep is a step with its kernel for one layout.
type preparedStep struct {
	step
	family   string
	instance shaders.Instance
	function string
	pipeline Pipeline
	block    [paramsBytes]byte // but for strides
}

func (b *Backend) newRunner(p *core.Problem, device Device, tune *tuning) *runner {
	r := &runner{problem: p, device: device, wide: b.wide, ready: map[stepKey]*preparedStep{}}
	r.steps, r.scratch = steps(p, tune)
	r.unused = len(r.scratch)
	r.scratch = append(r.scratch, scratch{bytes: 16})
	r.tensors = tensorChecks(p)
	r.jobs.New = func() any { return newRunJob(r) }
	return r
}

// Variant names the kernels, with the rows aligned and of usual size.
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

// ScratchBytes counts the temporary buffers of a run that computes everything.
func (r *runner) ScratchBytes() int64 {
	var bytes int64
	for _, s := range r.scratch {
		bytes += s.bytes
	}
	return bytes
}

// prepared returns a step for a layout, compiled at first need. A pipeline that
// takes fewer threads than planned gets smaller threadgroups, and more of them.
func (r *runner) prepared(i int, l layout) (*preparedStep, error) {
	key := stepKey{i, l}
	r.mu.Lock()
	defer r.mu.Unlock()
	if x, ok := r.ready[key]; ok {
		return x, nil
	}
	v := r.steps[i].at(l)
	pipeline, err := compile(r.device, v)
	if err != nil {
		return nil, err
	}
	instance := v.instance()
	x := &preparedStep{
		step: r.steps[i], family: v.family, instance: instance, function: instance.Name, pipeline: pipeline,
	}
	if limit := pipeline.MaxThreads(); limit < simdWidth {
		return nil, core.Errorf(core.DeviceError, "%s takes %d threads a threadgroup (want at least %d)",
			x.function, limit, simdWidth)
	} else if limit < x.threads {
		x.step = x.shrink(limit)
	}
	x.block = x.params.encode()
	r.ready[key] = x
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
	if broken != nil {
		return nil, core.Errorf(core.Internal, "%v", broken)
	}
	return p, err
}

// at is the step's variant for a layout.
func (x *step) at(l layout) variant {
	v := x.variant
	v.layout = layout{wide: l.wide && v.function != "reduce", vec: min(l.vec, v.layout.vec)}
	return v
}
