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
	device    metalrt.Device
	queue     metalrt.CommandQueue
	pipelines metalrt.Pipelines
	torch     atomic.Pointer[metalrt.Torch] // nil: the own queue
	launches  sync.Pool                     // of *launch
	spaces    workspaces
}

// System returns the machine's GPU, or why there is none. It is opened once.
var System = sync.OnceValues(openSystem)

func openSystem() (*GPU, error) {
	device, err := metalrt.CreateSystemDefaultDevice()
	if err != nil {
		return nil, err
	}
	queue, err := device.NewCommandQueue()
	if err != nil {
		return nil, err
	}
	g := &GPU{device: device, queue: queue}
	g.launches.New = func() any { return &launch{gpu: g} }
	return g, nil
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

// families are the Apple GPU families that the tuning knows, newest first.
var families = []metalrt.GPUFamily{
	metalrt.GPUFamilyApple10, metalrt.GPUFamilyApple9, metalrt.GPUFamilyApple8, metalrt.GPUFamilyApple7,
}

// Info describes the GPU.
func (g *GPU) Info() DeviceInfo {
	info := DeviceInfo{Name: g.device.Name()}
	for _, f := range families {
		if g.device.SupportsFamily(f) {
			info.Generation = int(f - metalrt.GPUFamilyApple7 + 7)
			break
		}
	}
	return info
}

// compileOptions are also those under which torch.mps.compile_shader compiles, so
// that results do not depend on who compiled.
var compileOptions = metalrt.CompileOptions{
	LanguageVersion:            metalrt.LanguageVersion3_1,
	MathMode:                   metalrt.MathModeSafe,
	MathFloatingPointFunctions: metalrt.MathFloatingPointFunctionsPrecise,
}

type gpuPipeline struct{ metalrt.ComputePipelineState }

// MaxThreads is maxTotalThreadsPerThreadgroup.
func (p gpuPipeline) MaxThreads() int { return p.MaxTotalThreadsPerThreadgroup() }

// Pipeline compiles a function, once per name.
func (g *GPU) Pipeline(function string, source func() string) (Pipeline, error) {
	p, err := g.pipelines.Get(function, func() (metalrt.ComputePipelineState, error) {
		return g.device.Compile(source(), function, compileOptions)
	})
	if err != nil {
		return nil, statusOf(err)
	}
	return gpuPipeline{p}, nil
}

// UseTorch makes jobs on Metal memory part of PyTorch's current stream: they are
// encoded there in order and not waited for. path is that of libtorch_cpu.
func (g *GPU) UseTorch(path string, route metalrt.Route) error {
	torch, err := metalrt.OpenTorch(path, route)
	if err != nil {
		return core.Errorf(core.Unsupported, "%v", err)
	}
	device, err := torch.Device()
	if err != nil {
		return core.Errorf(core.Unsupported, "%v", err)
	}
	if !device.Nil() && device != g.device {
		return core.Errorf(core.Unsupported, "torch uses another GPU than %s", g.device.Name())
	}
	g.torch.Store(torch)
	return nil
}

// UseOwnQueue makes jobs on Metal memory run on a queue of their own, each to its
// end. Work of others on the same memory is to be waited for before.
func (g *GPU) UseOwnQueue() { g.torch.Store(nil) }

// Stream names what UseTorch or UseOwnQueue chose.
func (g *GPU) Stream() string {
	if torch := g.torch.Load(); torch != nil {
		return "torch's stream by " + torch.Route().String()
	}
	return "own queue"
}

// Run runs a job. It returns when the work is encoded in torch's stream, or when
// the own queue has finished it.
func (g *GPU) Run(job *Job) error {
	l := g.launches.Get().(*launch)
	defer g.launches.Put(l)
	defer l.finish()
	l.job = job
	if err := l.resolve(); err != nil {
		return statusOf(err)
	}
	if torch := g.torch.Load(); torch != nil && job.Memory == core.Metal {
		runtime.LockOSThread() // a current stream is a thread's
		defer runtime.UnlockOSThread()
		l.stream = torch.CurrentStream()
		return statusOf(torch.Encode(l.stream, l))
	}
	return statusOf(g.queue.EncodeAndWait(l))
}

// statusOf gives an error of the driver the status that a C caller gets.
func statusOf(err error) error {
	if err == nil {
		return nil // before the variables below, which are allocated
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
