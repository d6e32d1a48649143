// SPDX-License-Identifier: MIT

package metal

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/metalrt"
)

// GPU is the Device that runs jobs through Metal.
type GPU struct {
	unit     atomic.Pointer[unit]
	torch    atomic.Pointer[metalrt.Torch] // nil: our own queue
	launches sync.Pool                     // of *launch
}

// unit is one of the machine's GPUs with the objects that were created on it.
type unit struct {
	device    metalrt.Device
	queue     metalrt.CommandQueue
	pipelines metalrt.Pipelines
	spaces    workspaces
}

// System returns the machine's GPU, or an error that says why there is none. It
// searches once. If it finds no GPU, a later UseTorch may still supply one.
func System() (*GPU, error) {
	g, err := system()
	if g.unit.Load() == nil {
		return nil, err
	}
	return g, nil
}

var system = sync.OnceValues(openSystem)

// openSystem returns a GPU without a unit if no device can run the kernels.
func openSystem() (*GPU, error) {
	g := &GPU{}
	g.launches.New = func() any { return &launch{gpu: g} }
	devices, err := metalrt.Devices()
	if err != nil {
		return g, err
	}
	var refused []error
	for _, device := range devices {
		if g.unit.Load() == nil {
			if err := g.open(device); err == nil {
				continue
			} else {
				refused = append(refused, err)
			}
		}
		device.Release()
	}
	if g.unit.Load() == nil {
		return g, errors.Join(refused...)
	}
	return g, nil
}

// open makes device the GPU's unit, if the kernels support its family.
func (g *GPU) open(device metalrt.Device) error {
	if !device.SupportsFamily(metalrt.GPUFamilyApple7) {
		return core.Errorf(core.Unsupported, "the GPU %s is not of Apple's families (want Apple7, the M1's, or later)",
			device.Name())
	}
	queue, err := device.NewCommandQueue()
	if err != nil {
		return err
	}
	g.unit.Store(&unit{device: device, queue: queue})
	return nil
}

// OnSystem returns the backend on the machine's GPU.
func OnSystem() *Backend {
	return New(func() (Device, error) {
		g, err := System()
		if err != nil {
			return nil, err
		}
		return g, nil
	})
}

// families are the Apple GPU families that the tuning distinguishes, newest first.
var families = []metalrt.GPUFamily{
	metalrt.GPUFamilyApple10, metalrt.GPUFamilyApple9, metalrt.GPUFamilyApple8, metalrt.GPUFamilyApple7,
}

// Info returns the GPU's name and family.
func (g *GPU) Info() DeviceInfo {
	device := g.unit.Load().device
	info := DeviceInfo{Name: device.Name()}
	for _, f := range families {
		if device.SupportsFamily(f) {
			info.Generation = int(f - metalrt.GPUFamilyApple7 + 7)
			break
		}
	}
	return info
}

// compileOptions are the options that torch.mps.compile_shader uses, too, so that
// results do not depend on who compiled a kernel.
var compileOptions = metalrt.CompileOptions{
	LanguageVersion:            metalrt.LanguageVersion3_1,
	MathMode:                   metalrt.MathModeSafe,
	MathFloatingPointFunctions: metalrt.MathFloatingPointFunctionsPrecise,
}

type gpuPipeline struct {
	metalrt.ComputePipelineState
	unit *unit
}

// MaxThreads returns maxTotalThreadsPerThreadgroup.
func (p gpuPipeline) MaxThreads() int { return p.MaxTotalThreadsPerThreadgroup() }

// Pipeline compiles a function, once per name. The kernels rely on simdgroups of 32
// threads.
func (g *GPU) Pipeline(function string, source func() string) (Pipeline, error) {
	u := g.unit.Load()
	p, err := u.pipelines.Get(function, func() (metalrt.ComputePipelineState, error) {
		p, err := u.device.Compile(source(), function, compileOptions)
		if err != nil {
			return p, err
		}
		if width := p.ThreadExecutionWidth(); width != simdWidth {
			p.Release()
			return metalrt.ComputePipelineState{}, core.Errorf(core.Unsupported,
				"simdgroups of %s have %d threads (want %d)", u.device.Name(), width, simdWidth)
		}
		return p, nil
	})
	if err != nil {
		return nil, statusOf(err)
	}
	return gpuPipeline{p, u}, nil
}

// UseTorch calls GPU.UseTorch on the machine's GPU, which may be one that only torch
// has found.
func UseTorch(path string, route metalrt.Route) error {
	g, missing := system()
	err := g.UseTorch(path, route)
	if err == nil && g.unit.Load() == nil {
		g.UseOwnQueue()
		err = core.Errorf(core.Unsupported, "torch's stream does not tell its GPU")
	}
	if err != nil && g.unit.Load() == nil {
		return core.Errorf(core.Unsupported, "%v; %v", missing, err)
	}
	return err
}

// UseTorch encodes jobs on Metal memory into PyTorch's current stream, in order with
// torch's work and without waiting. path is the path of libtorch_cpu. If torch uses
// another of the machine's GPUs, that becomes this GPU's device, and plans made
// before no longer run.
func (g *GPU) UseTorch(path string, route metalrt.Route) error {
	torch, err := metalrt.OpenTorch(path, route)
	if err != nil {
		return core.Errorf(core.Unsupported, "%v", err)
	}
	device, err := torch.Device()
	if err != nil {
		return core.Errorf(core.Unsupported, "%v", err)
	}
	if err := g.follow(device); err != nil {
		return core.Errorf(core.Unsupported, "torch's GPU: %v", err)
	}
	g.torch.Store(torch)
	return nil
}

// follow takes ownership of torch's device and makes it the GPU's, unless it already
// is.
func (g *GPU) follow(device metalrt.Device) error {
	if device.Nil() {
		return nil
	}
	if u := g.unit.Load(); u != nil && device.RegistryID() == u.device.RegistryID() {
		device.Release()
		return nil
	}
	err := g.open(device)
	if err != nil {
		device.Release()
	}
	return err
}

// UseOwnQueue makes jobs on Metal memory run on our own queue and wait until each has
// finished. Callers must first wait for other work on the same memory.
func (g *GPU) UseOwnQueue() { g.torch.Store(nil) }

// Stream returns the name of the stream that UseTorch or UseOwnQueue chose.
func (g *GPU) Stream() string {
	if torch := g.torch.Load(); torch != nil {
		return "torch's stream by " + torch.Route().String()
	}
	return "own queue"
}

// Run runs a job. It returns when the work is encoded in torch's stream, or when our
// own queue has finished it.
func (g *GPU) Run(job *Job) error {
	l := g.launches.Get().(*launch)
	defer g.launches.Put(l)
	defer l.finish()
	l.job, l.unit = job, g.unit.Load()
	if err := l.resolve(); err != nil {
		return statusOf(err)
	}
	if torch := g.torch.Load(); torch != nil && job.Memory == core.Metal {
		runtime.LockOSThread() // the current stream belongs to a thread
		defer runtime.UnlockOSThread()
		l.stream = torch.CurrentStream()
		return statusOf(torch.Encode(l.stream, l))
	}
	return statusOf(l.unit.queue.EncodeAndWait(l))
}

// statusOf maps an error of the driver to the status that a C caller gets.
func statusOf(err error) error {
	if err == nil {
		return nil // classify is separate because its variables are allocated
	}
	return classify(err)
}

func classify(err error) error {
	var known *core.Error
	var metal *metalrt.Error
	var memory *metalrt.OutOfMemoryError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &memory), errors.As(err, &metal) && metal.OutOfMemory():
		return core.Errorf(core.OutOfMemory, "%v", err)
	}
	return core.Errorf(core.DeviceError, "%v", err)
}
