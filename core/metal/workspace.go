// SPDX-License-Identifier: MIT

package metal

import (
	"sync"

	"github.com/natten-mps/natten-mps/metalrt"
)

// workspace is scratch memory that grows to the size of the largest job.
type workspace struct{ buffers []metalrt.Buffer }

// grow replaces buffers that are too short. The GPU may still be using a buffer that
// is released here; its command buffer keeps it alive.
func (w *workspace) grow(device metalrt.Device, sizes []int64) error {
	for len(w.buffers) < len(sizes) {
		w.buffers = append(w.buffers, metalrt.Buffer{})
	}
	for i, size := range sizes {
		size = max(size, 16) // Metal makes no empty buffers
		if !w.buffers[i].Nil() && int64(w.buffers[i].Length()) >= size {
			continue
		}
		buffer, err := device.NewBuffer(int(size))
		if err != nil {
			return err
		}
		if !w.buffers[i].Nil() {
			w.buffers[i].Release()
		}
		w.buffers[i] = buffer
	}
	return nil
}

// workspaces manages the scratch memory of a GPU: free for jobs on our own queue, and
// one per torch stream.
type workspaces struct {
	mu      sync.Mutex
	free    []*workspace
	streams map[uintptr]*workspace
}

func (s *workspaces) take() *workspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		w := s.free[n-1]
		s.free = s.free[:n-1]
		return w
	}
	return new(workspace)
}

func (s *workspaces) put(w *workspace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, w)
}

func (s *workspaces) ofStream(stream uintptr) *workspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams == nil {
		s.streams = map[uintptr]*workspace{}
	}
	if s.streams[stream] == nil {
		s.streams[stream] = new(workspace)
	}
	return s.streams[stream]
}
