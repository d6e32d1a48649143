// SPDX-License-Identifier: MIT

package metal

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/metalrt"
)

// simulator is a separate GPU of the simulated Metal that accepts host memory. It
// copies every tensor into a buffer of exactly its bytes, so that any access outside
// is detected.
type simulator struct {
	*GPU
	mu      sync.Mutex
	runs    map[string]int // number of runs of each function
	renamed string         // replaces the GPU's name unless empty
}

// Info returns the GPU's info, with the name replaced by renamed.
func (s *simulator) Info() DeviceInfo {
	info := s.GPU.Info()
	if s.renamed != "" {
		info.Name = s.renamed
	}
	return info
}

// newSimulator accepts settings of metalsim.h that differ from the common ones. On
// macOS it returns the machine's GPU and ignores the settings.
func newSimulator(t testing.TB, settings map[string]string) *simulator {
	t.Helper()
	if runtime.GOOS == "darwin" {
		return onMac(t)
	}
	_, s := simulated(t)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		require.NoError(t, s.Set(name, settings[name]))
	}
	g, err := openSystem()
	require.NoError(t, err)
	t.Cleanup(g.unit.Load().queue.Release)
	return &simulator{GPU: g, runs: map[string]int{}}
}

// onMac skips the test if there is no GPU, or fails it if NATTEN_TEST_REQUIRE names
// metal.
func onMac(t testing.TB) *simulator {
	t.Helper()
	g, err := openSystem()
	if err != nil && strings.Contains(os.Getenv("NATTEN_TEST_REQUIRE"), "metal") {
		t.Fatalf("NATTEN_TEST_REQUIRE wants metal: %v", err)
	} else if err != nil {
		t.Skip(err)
	}
	return &simulator{GPU: g, runs: map[string]int{}}
}

func (s *simulator) backend() *Backend {
	return New(func() (Device, error) { return s, nil })
}

// copyOf is a copy of a tensor's bytes in a buffer. It has the same alignment with
// respect to multiples of 16 bytes.
type copyOf struct {
	host   []byte
	buffer metalrt.Buffer
	prefix int
	tensor core.Tensor // in the buffer
	writes bool
}

func (c *copyOf) bytes() []byte {
	return unsafe.Slice((*byte)(c.buffer.Contents()), c.prefix+len(c.host))[c.prefix:]
}

func (s *simulator) Run(job *Job) error {
	if job.Memory != core.Host {
		return fmt.Errorf("the simulator takes host memory only")
	}
	copies := map[*core.Tensor]*copyOf{}
	defer func() {
		for _, c := range copies {
			c.buffer.Release()
		}
	}()
	moved := Job{Memory: core.Metal, Scratch: job.Scratch, Dispatches: slices.Clone(job.Dispatches)}
	for i := range moved.Dispatches {
		d := &moved.Dispatches[i]
		s.count(d.Function)
		d.Bindings = slices.Clone(d.Bindings)
		for index := range d.Bindings {
			b := &d.Bindings[index]
			if b.Tensor == nil || b.Tensor.Data == 0 {
				continue
			}
			c, err := s.copy(copies, b)
			if err != nil {
				return err
			}
			b.Tensor = &c.tensor
		}
	}
	if err := s.GPU.Run(&moved); err != nil {
		return err
	}
	for _, c := range copies {
		if c.writes {
			copy(c.host, c.bytes())
		}
	}
	return nil
}

func (s *simulator) count(function string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[function]++
}

func (s *simulator) copy(copies map[*core.Tensor]*copyOf, b *Binding) (*copyOf, error) {
	c := copies[b.Tensor]
	if c == nil {
		first := b.Tensor.Data.Add(int(b.Tensor.Offset + b.Low))
		c = &copyOf{host: unsafe.Slice((*byte)(first.Pointer()), b.High-b.Low), prefix: int(first % 16)}
		var err error
		if c.buffer, err = s.unit.Load().device.NewBuffer(max(c.prefix+len(c.host), 1)); err != nil {
			return nil, err
		}
		copy(c.bytes(), c.host)
		c.tensor = core.Tensor{
			Data:   core.Address(c.buffer.ID),
			Offset: int64(c.prefix) - b.Low,
		}
		copies[b.Tensor] = c
	}
	c.writes = c.writes || b.Writes
	return c, nil
}
