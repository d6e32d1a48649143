// SPDX-License-Identifier: MIT

package metalrt

import (
	"os"
	"unsafe"
)

// HostBuffer makes host memory accessible to the GPU for one run.
type HostBuffer struct {
	Buffer
	Offset int // of the host memory within the buffer, in bytes
	staged []byte
}

// NewHostBuffer covers the bytes from <= i < to relative to address; from may be
// negative. It wraps the pages that contain the memory. Only if Metal refuses to wrap
// them does it copy the bytes.
func (d Device) NewHostBuffer(address uintptr, from, to int) (HostBuffer, error) {
	page := os.Getpagesize()
	first := address + uintptr(from)
	lead := int(first % uintptr(page))
	pages := (lead + to - from + page - 1) / page * page
	if b, ok := d.NewBufferWithBytesNoCopy(first-uintptr(lead), pages); ok {
		return HostBuffer{Buffer: b, Offset: lead - from}, nil
	}
	b, err := d.NewBuffer(to - from)
	if err != nil {
		return HostBuffer{}, err
	}
	h := HostBuffer{Buffer: b, Offset: -from, staged: unsafe.Slice((*byte)(pointer(first)), to-from)}
	gpu, host := h.Staged()
	copy(gpu, host)
	return h, nil
}

// Staged returns the GPU's copy of the memory and the memory itself, or nil if the
// GPU uses the memory in place. After the GPU's last access, the caller must copy
// back the elements that the GPU wrote and no other bytes, because bytes between the
// elements may belong to others.
func (h HostBuffer) Staged() (gpu, host []byte) {
	if h.staged == nil {
		return nil, nil
	}
	return unsafe.Slice((*byte)(h.Contents()), len(h.staged)), h.staged
}

// NewBufferWithBytes returns a buffer that holds a copy of b.
func (d Device) NewBufferWithBytes(b []byte) (Buffer, error) {
	buffer, err := d.NewBuffer(len(b))
	if err == nil {
		copy(unsafe.Slice((*byte)(buffer.Contents()), len(b)), b)
	}
	return buffer, err
}
