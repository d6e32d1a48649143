// SPDX-License-Identifier: MIT

package metal

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/shaders"
)

// Backend is the backend "metal" on a device.
type Backend struct {
	open func() (Device, error)
	tune *tuning // nil: by the device's generation
	wide bool    // 64-bit offsets even where 32 bits suffice, for tests

	refused atomic.Pointer[string] // why a tuned kernel was last replaced by a plainer one
}

// New returns the backend on the device that open finds; open is called when the
// device is first needed, and always has the same answer.
func New(open func() (Device, error)) *Backend { return &Backend{open: open} }

// Name is "metal".
func (b *Backend) Name() string { return "metal" }

// Available reports whether there is a GPU, its name, and what it has refused.
func (b *Backend) Available() (bool, string) {
	device, err := b.open()
	if err != nil {
		return false, err.Error()
	}
	details := device.Info().Name
	if why := b.refused.Load(); why != nil {
		details += "; plainer kernels where the tuned ones were refused: " + *why
	}
	return true, details
}

// Unsupported lists what speaks against a problem.
func (b *Backend) Unsupported(p *core.Problem) []string {
	var why []string
	if _, err := b.open(); err != nil {
		why = append(why, err.Error())
	}
	if p.DType == core.Float64 {
		why = append(why, "dtype is float64 (Metal has float32, float16 and bfloat16)")
	}
	return append(why, tooLarge(p)...)
}

// tooLarge lists counts that a kernel keeps in 32 bits and that do not fit.
func tooLarge(p *core.Problem) []string {
	var why []string
	check := func(what string, factors ...int64) {
		product := 1.0
		for _, n := range factors {
			product *= float64(n)
		}
		if product > math.MaxInt32/2 {
			why = append(why, fmt.Sprintf("%s is %.0f (want at most %d)", what, product, math.MaxInt32/2))
		}
	}
	for i := range p.Axes {
		check(fmt.Sprintf("length of axis %d", i-3+p.Rank), p.Axes[i].Length+p.Axes[i].QueryStep)
	}
	check("number of attention slots", p.Axes[0].Kernel, p.Axes[1].Kernel, p.Axes[2].Kernel)
	check("extra", p.Extra)
	check("batch * heads", p.Batch, p.Heads)
	check("batch * queries", p.Batch, p.Axes[0].Outputs(), p.Axes[1].Outputs(), p.Axes[2].Outputs())
	if p.RPB {
		n := p.Shape(core.RPB)
		check("size of rpb", n...)
	}
	if p.Extra > 0 {
		n := p.Shape(core.ExtraKey)
		check("size of extra_key", n...)
		n = p.Shape(core.ExtraValue)
		check("size of extra_value", n...)
	}
	return why
}

// Prepare decides the launches of a problem and compiles their kernels. Where the
// GPU refuses one, as for want of registers or of threads, the plainest design
// takes the place of the tuned one.
func (b *Backend) Prepare(p *core.Problem) (core.Runner, error) {
	device, err := b.open()
	if err != nil {
		return nil, core.Errorf(core.Unsupported, "%v", err)
	}
	tune := b.tune
	if tune == nil {
		tune = tuningFor(device.Info().Generation)
	}
	r := b.newRunner(p, device, tune)
	refused := r.compile()
	if refused == nil {
		return r, nil
	}
	r = b.newRunner(p, device, &plainest)
	if r.compile() != nil {
		return nil, refused
	}
	why := refused.Error()
	b.refused.Store(&why)
	return r, nil
}

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
