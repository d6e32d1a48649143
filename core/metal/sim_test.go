// SPDX-License-Identifier: MIT

//go:build cgo

package metal

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/tests/metalsim/mtl"
)

// simulator is a Device that runs kernels on the CPU, on host memory, with every
// access checked.
type simulator struct {
	device     *mtl.Device
	maxThreads int // of every pipeline; 0: as the kernel says
	mu         sync.Mutex
	pipelines  map[string]simPipeline
	runs       map[string]int // of each function
}

type simPipeline struct {
	*mtl.Pipeline
	max int
}

func (p simPipeline) MaxThreads() int { return p.max }

func newSimulator(configure func(d *mtl.Device)) *simulator {
	s := &simulator{device: mtl.NewDevice(), pipelines: map[string]simPipeline{}, runs: map[string]int{}}
	if configure != nil {
		configure(s.device)
	}
	return s
}

func (s *simulator) backend() *Backend {
	return New(func() (Device, error) { return s, nil })
}

func (s *simulator) Info() DeviceInfo { return DeviceInfo{Name: "simulator"} }

func (s *simulator) Pipeline(function string, source func() string) (Pipeline, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.pipelines[function]; ok {
		return p, nil
	}
	library, err := s.device.NewLibraryFromSource(function, source())
	if err != nil {
		return nil, err
	}
	if len(library.Warnings) > 0 {
		return nil, fmt.Errorf("%s: %v", function, library.Warnings)
	}
	pipeline, err := s.device.NewPipeline(library, function, nil)
	if err != nil {
		return nil, err
	}
	p := simPipeline{pipeline, pipeline.MaxTotalThreads}
	if s.maxThreads != 0 {
		p.max = min(p.max, s.maxThreads)
	}
	s.pipelines[function] = p
	return p, nil
}

// copyOf is a tensor's bytes in a buffer of the simulator's, which lies as the
// tensor does with respect to multiples of 16 bytes.
type copyOf struct {
	host   []byte
	buffer *mtl.Buffer
	prefix int
	writes bool
}

func (c *copyOf) bytes() []byte { return c.buffer.Contents()[c.prefix:] }

func (s *simulator) Run(job *Job) error {
	if job.Memory != core.Host {
		return fmt.Errorf("the simulator takes host memory only")
	}
	copies := map[*core.Tensor]*copyOf{}
	var buffers []*mtl.Buffer
	for _, n := range job.Scratch {
		buffers = append(buffers, s.device.NewBuffer(int(n)))
	}
	commands := s.device.NewCommandBuffer()
	encoder := commands.Encoder()
	for i := range job.Dispatches {
		d := &job.Dispatches[i]
		s.count(d.Function)
		encoder.SetPipeline(d.Pipeline.(simPipeline).Pipeline)
		for index := range d.Bindings {
			b := &d.Bindings[index]
			switch {
			case b.Scratch > 0:
				encoder.SetBuffer(buffers[b.Scratch-1], 0, index)
			case b.Tensor != nil:
				c := s.copy(copies, b)
				encoder.SetBuffer(c.buffer, c.prefix-int(b.Low), index)
			default:
				encoder.SetBytes(b.Bytes, index)
			}
		}
		encoder.DispatchThreadgroups(mtl.Size(d.Groups), mtl.Size(d.Threads))
	}
	encoder.EndEncoding()
	err := commands.Commit()
	for _, c := range copies {
		if c.writes {
			copy(c.host, c.bytes())
		}
		c.buffer.Release()
	}
	for _, b := range buffers {
		b.Release()
	}
	return err
}

func (s *simulator) count(function string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[function]++
}

func (s *simulator) copy(copies map[*core.Tensor]*copyOf, b *Binding) *copyOf {
	c := copies[b.Tensor]
	if c == nil {
		first := unsafe.Add(b.Tensor.Data, b.Tensor.Offset+b.Low)
		c = &copyOf{host: unsafe.Slice((*byte)(first), b.High-b.Low), prefix: int(uintptr(first) % 16)}
		c.buffer = s.device.NewBuffer(c.prefix + len(c.host))
		copy(c.bytes(), c.host)
		copies[b.Tensor] = c
	}
	c.writes = c.writes || b.Writes
	return c
}
