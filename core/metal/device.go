// SPDX-License-Identifier: MIT

package metal

import "github.com/natten-mps/natten-mps/core"

// Size is an extent along x, y and z.
type Size struct{ X, Y, Z int }

// Count returns the product of the three extents.
func (s Size) Count() int { return s.X * s.Y * s.Z }

// DeviceInfo is what the tuning needs to know about a GPU.
type DeviceInfo struct {
	Name       string // as the driver reports it, for example "Apple M4 Max"
	Generation int    // Apple GPU family: 7 is M1, 8 M2, 9 M3 and M4, 10 M5; 0 is unknown
}

// Pipeline is a compiled kernel.
type Pipeline interface {
	// MaxThreads returns Metal's maxTotalThreadsPerThreadgroup.
	MaxThreads() int
}

// Device compiles kernels and runs jobs. It is safe for concurrent use.
type Device interface {
	Info() DeviceInfo
	// Pipeline compiles a function of an MSL source (language version 3.1). A name
	// always stands for the same source, so the device caches pipelines by name and
	// calls source only when the pipeline is not cached.
	Pipeline(function string, source func() string) (Pipeline, error)
	// Run runs a job's dispatches in order. Each sees what earlier ones wrote. Run
	// keeps no reference to the job. For host memory it returns when the outputs are
	// complete.
	Run(job *Job) error
}

// Job is the work that one run of a plan submits to the device.
type Job struct {
	Memory     core.Memory // of all tensors
	Scratch    []int64     // sizes in bytes of temporary buffers, shared by the dispatches
	Dispatches []Dispatch
}

// Dispatch is one kernel launch: dispatchThreadgroups:threadsPerThreadgroup:.
// Bindings[i] is bound at buffer index i.
type Dispatch struct {
	Pipeline Pipeline
	Function string
	Bindings []Binding
	Groups   Size // threadgroups
	Threads  Size // threads per threadgroup
}

// Launcher is a Runner that can describe its launches without running them, for hosts
// that launch kernels themselves.
type Launcher interface {
	// Launches describes a run with accepted buffers. The job refers to b.
	Launches(b *core.Buffers) (*Job, error)
	// Source returns the MSL source of a function that a Dispatch names.
	Source(function string) (string, error)
}

// Binding is one argument of a kernel; exactly one of Tensor, Bytes and Scratch
// is set.
type Binding struct {
	// Tensor is bound at Data + Offset, the address of its first element. Role is its
	// role.
	Tensor *core.Tensor
	Role   core.Role
	// Low and High delimit the bytes that the tensor spans, counted from its first
	// element: Low <= 0 because strides may be negative, High is exclusive.
	Low, High int64
	form      *tensorCheck // of Tensor
	// Bytes are passed by value. More than 4096 bytes need a buffer.
	Bytes []byte
	// Scratch is 1 + the index of a buffer of Job.Scratch.
	Scratch int
	// Writes is set if the kernel writes the tensor or scratch.
	Writes bool
}
