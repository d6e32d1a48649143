// SPDX-License-Identifier: MIT

package metal

import (
	"fmt"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/metalrt"
)

// maxBytes is the largest argument that setBytes accepts.
const maxBytes = 4096

// place is the buffer and offset of one binding.
type place struct {
	buffer metalrt.Buffer
	offset int
}

// host is a tensor in host memory that a job has made visible to the GPU.
type host struct {
	tensor *core.Tensor
	form   *tensorCheck
	buffer metalrt.HostBuffer
	writes bool
}

// finish copies results back if they were staged, after the GPU's last access, and
// releases the buffer.
func (h *host) finish() {
	if gpu, memory := h.buffer.Staged(); h.writes && gpu != nil {
		h.form.copyElements(memory, gpu, h.tensor)
	}
	h.buffer.Release()
}

// launch is one job being submitted to the GPU. Its slices are reused.
type launch struct {
	gpu       *GPU
	unit      *unit
	job       *Job
	places    []place          // of the bindings of all dispatches, in order
	hosts     []host           // host memory only
	constants []metalrt.Buffer // for Bytes beyond maxBytes
	stream    uintptr          // torch's, or 0 for our own queue
	space     *workspace       // scratch memory of jobs on our own queue
}

// finish releases what resolve acquired.
func (l *launch) finish() {
	for i := range l.hosts {
		l.hosts[i].finish()
	}
	for _, b := range l.constants {
		b.Release()
	}
	if l.space != nil {
		l.unit.spaces.put(l.space)
	}
	clear(l.hosts)
	*l = launch{gpu: l.gpu, places: l.places[:0], hosts: l.hosts[:0], constants: l.constants[:0]}
}

// resolve finds the buffer of every tensor. It runs before an encoder is opened.
func (l *launch) resolve() error {
	for i := range l.job.Dispatches {
		for j := range l.job.Dispatches[i].Bindings {
			p, err := l.find(&l.job.Dispatches[i].Bindings[j])
			if err != nil {
				return err
			}
			l.places = append(l.places, p)
		}
	}
	return nil
}

func (l *launch) find(b *Binding) (place, error) {
	switch {
	case b.Tensor == nil && len(b.Bytes) > maxBytes:
		buffer, err := l.unit.device.NewBufferWithBytes(b.Bytes)
		if err == nil {
			l.constants = append(l.constants, buffer)
		}
		return place{buffer: buffer}, err
	case b.Tensor == nil || b.Tensor.Data == 0:
		return place{}, nil
	case l.job.Memory == core.Host:
		return l.findHost(b)
	}
	return findBuffer(b)
}

// findBuffer checks that a tensor's handle is an MTLBuffer that covers the tensor.
func findBuffer(b *Binding) (place, error) {
	t := b.Tensor
	if t.Offset+b.Low < 0 {
		return place{}, core.Errorf(core.InvalidArgument,
			"strides reach %d bytes before the first of the MTLBuffer", -(t.Offset + b.Low))
	}
	buffer, err := metalrt.BufferFromHandle(uintptr(t.Data), int(t.Offset+b.High))
	if err != nil {
		return place{}, core.Errorf(core.InvalidArgument, "%v", err)
	}
	return place{buffer, int(t.Offset)}, nil
}

// findHost wraps a tensor's memory in a buffer. Every dispatch of the job gets the
// same buffer, because Metal orders dispatches by the buffers that they share.
func (l *launch) findHost(b *Binding) (place, error) {
	for i := range l.hosts {
		if h := &l.hosts[i]; h.tensor == b.Tensor {
			h.writes = h.writes || b.Writes
			return h.place(), nil
		}
	}
	from, to := int(b.Tensor.Offset+b.Low), int(b.Tensor.Offset+b.High)
	buffer, err := l.unit.device.NewHostBuffer(uintptr(b.Tensor.Data), from, to)
	if err != nil {
		return place{}, err
	}
	l.hosts = append(l.hosts, host{b.Tensor, b.form, buffer, b.Writes})
	return l.hosts[len(l.hosts)-1].place(), nil
}

func (h *host) place() place {
	return place{h.buffer.Buffer, h.buffer.Offset + int(h.tensor.Offset)}
}

// Encode writes the dispatches. No other job is encoded in the same stream while it
// runs.
func (l *launch) Encode(e metalrt.ComputeCommandEncoder) error {
	space, err := l.scratch()
	if err != nil {
		return err
	}
	next := 0
	for i := range l.job.Dispatches {
		d := &l.job.Dispatches[i]
		pipeline, ok := d.Pipeline.(gpuPipeline)
		if !ok || pipeline.unit != l.unit {
			return fmt.Errorf("metal: %s has a pipeline of another device", d.Function)
		}
		if e.Concurrent && i > 0 {
			e.MemoryBarrier()
		}
		e.SetComputePipelineState(pipeline.ComputePipelineState)
		for j := range d.Bindings {
			b, p := &d.Bindings[j], l.places[next]
			next++
			switch {
			case b.Scratch > 0:
				e.SetBuffer(space.buffers[b.Scratch-1], 0, j)
			case p.buffer.Nil() && b.Tensor == nil:
				e.SetBytes(b.Bytes, j)
			default:
				e.SetBuffer(p.buffer, p.offset, j)
			}
		}
		groups, threads := d.Groups.mtl(), d.Threads.mtl()
		e.DispatchThreadgroups(&groups, &threads)
	}
	return nil
}

func (s Size) mtl() metalrt.Size {
	return metalrt.Size{Width: uint(s.X), Height: uint(s.Y), Depth: uint(s.Z)}
}

// scratch returns the workspace of a job. In torch's stream, all jobs share the
// stream's workspace: dispatches run in order, so it is free again as soon as an
// earlier job's dispatches are encoded. On our own queue, a job keeps its workspace
// until the GPU has finished.
func (l *launch) scratch() (*workspace, error) {
	if len(l.job.Scratch) == 0 {
		return nil, nil
	}
	var space *workspace
	if l.stream != 0 {
		space = l.unit.spaces.ofStream(l.stream)
	} else {
		l.space = l.unit.spaces.take()
		space = l.space
	}
	return space, space.grow(l.unit.device, l.job.Scratch)
}
