// SPDX-License-Identifier: MIT

package metalrt

import (
	"os"
	"unsafe"
)

// HostBuffer makes host memory visible to the GPU for one run.
type HostBuffer struct {
	Buffer
	Offset int // of the memory in the buffer, in bytes
	staged []byte
}

// NewHostBuffer covers bytes from to to (exclusive) of an address, which may be
// counted from anywhere inside. The pages around the memory become the buffer; only
// if Metal declines them are the bytes copied.
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

// Staged returns the GPU's copy of the memory and the memory itself; nil where the
// GPU has that. What the GPU wrote is to be copied back after its last access, and
// nothing else: what lies between may be others'.
func (h HostBuffer) Staged() (gpu, host []byte) {
	if h.staged == nil {
		return nil, nil
	}
	return unsafe.Slice((*byte)(h.Contents()), len(h.staged)), h.staged
}

// NewBufferWithBytes makes a buffer that holds a copy of b.
func (d Device) NewBufferWithBytes(b []byte) (Buffer, error) {
	buffer, err := d.NewBuffer(len(b))
	if err == nil {
		copy(unsafe.Slice((*byte)(buffer.Contents()), len(b)), b)
	}
	return buffer, err
}
