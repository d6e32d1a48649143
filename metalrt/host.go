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
// counted from anywhere inside. The pages round the memory become the buffer; only
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
	copy(h.bytes(), h.staged)
	return h, nil
}

func (h HostBuffer) bytes() []byte {
	return unsafe.Slice((*byte)(h.Contents()), len(h.staged))
}

// Finish gives the memory back after the GPU's last access. written says that the
// GPU may have changed it.
func (h HostBuffer) Finish(written bool) {
	if written {
		copy(h.staged, h.bytes())
	}
	h.Release()
}

// NewBufferWithBytes makes a buffer that holds a copy of b.
func (d Device) NewBufferWithBytes(b []byte) (Buffer, error) {
	buffer, err := d.NewBuffer(len(b))
	if err == nil {
		copy(unsafe.Slice((*byte)(buffer.Contents()), len(b)), b)
	}
	return buffer, err
}
