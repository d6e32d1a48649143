// SPDX-License-Identifier: MIT

package metal

import "github.com/natten-mps/natten-mps/core"

// Size is a number of things along x, y and z.
type Size struct{ X, Y, Z int }

// Count is the product of s.
func (s Size) Count() int { return s.X * s.Y * s.Z }

// DeviceInfo is what the policy needs to know of a GPU.
type DeviceInfo struct {
	Name       string // as the driver says, e.g. "Apple M4 Max"
	Generation int    // Apple GPU family: 7 is M1, 8 M2, 9 M3 and M4, 10 M5; 0 is unknown
}

// Pipeline is a kernel ready to run.
type Pipeline interface {
	// MaxThreads is maxTotalThreadsPerThreadgroup.
	MaxThreads() int
}

// Device compiles kernels and runs jobs. It is safe for concurrent use.
type Device interface {
	Info() DeviceInfo
	// Pipeline compiles function of an MSL source (language version 3.1). A name
	// stands for one source only, so the device caches by it; source is not
	// called when the pipeline is there.
	Pipeline(function string, source func() string) (Pipeline, error)
	// Run runs a job's dispatches in order, each seeing what those before it
	// wrote. It keeps nothing of the job. With host memory it returns when the
	// outputs are complete.
	Run(job *Job) error
}

// Job is what one run of a plan asks of the device.
type Job struct {
	Memory     core.Memory // of all tensors
	Scratch    []int64     // sizes in bytes of temporary buffers, shared by the dispatches
	Dispatches []Dispatch
}

// Dispatch is one kernel launch: dispatchThreadgroups:threadsPerThreadgroup:.
// Bindings[i] belongs at buffer index i.
type Dispatch struct {
	Pipeline Pipeline
	Function string
	Bindings []Binding
	Groups   Size // threadgroups
	Threads  Size // threads per threadgroup
}

// Launcher is a Runner whose launches can be had without running them, for hosts
// that launch kernels themselves.
type Launcher interface {
	// Launches describes the run of accepted buffers. The job refers to b.
	Launches(b *core.Buffers) (*Job, error)
	// Source is the MSL text of a function that a Dispatch names.
	Source(function string) (string, error)
}

// Binding is one argument of a kernel; exactly one of Tensor, Bytes and Scratch
// is set.
type Binding struct {
	// Tensor is bound at Data + Offset, its first element. It is that of Role.
	Tensor *core.Tensor
	Role   core.Role
	// Low and High delimit the bytes that the tensor spans, counted from its first
	// element: Low <= 0 because strides may be negative, High is exclusive.
	Low, High int64
	form      *tensorCheck // the tensor's
	// Bytes are passed by value. Beyond 4096 of them a buffer is needed.
	Bytes []byte
	// Scratch is 1 + the index of a buffer of Job.Scratch.
	Scratch int
	// Writes is set if the kernel writes the tensor or scratch.
	Writes bool
}
