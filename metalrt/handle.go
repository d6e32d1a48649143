// SPDX-License-Identifier: MIT

package metalrt

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// bufferClasses holds the classes whose objects are known to be MTLBuffers, usually
// one. Every launch reads it, so readers do not lock. Writers replace the slice.
var bufferClasses struct {
	sync.Mutex // of writers
	known      atomic.Pointer[[]uintptr]
}

func isBufferClass(class uintptr) bool {
	known := bufferClasses.known.Load()
	return known != nil && slices.Contains(*known, class)
}

// BufferFromHandle checks that an address is an MTLBuffer of at least length bytes. A
// message to anything else would crash the process. Therefore it sends no message
// before malloc_size and the list of classes confirm that the address is an object.
func BufferFromHandle(handle uintptr, length int) (Buffer, error) {
	b := Buffer{Object{handle}}
	if handle == 0 || quickCall(c.malloc_size, handle, 0, 0) == 0 {
		return b, fmt.Errorf("metalrt: %#x is no Objective-C object (want the id<MTLBuffer>, not an address of data)", handle)
	}
	class := quickCall(c.object_getClass, handle, 0, 0)
	if !isBufferClass(class) && !b.isBuffer(class) {
		return b, fmt.Errorf("metalrt: %#x is no MTLBuffer", handle)
	}
	if n := b.Length(); n < length {
		return b, fmt.Errorf("metalrt: the MTLBuffer %#x has %d bytes (want at least %d)", handle, n, length)
	}
	return b, nil
}

// isBuffer decides whether a class that was not seen before is a buffer class.
func (b Buffer) isBuffer(class uintptr) bool {
	if !isClass(class) {
		return false
	}
	protocol := callWithName(c.objc_getProtocol, "MTLBuffer")
	if !truth(send(b.ID, sel_conformsToProtocol, protocol)) {
		return false
	}
	bufferClasses.Lock()
	defer bufferClasses.Unlock()
	known := []uintptr{class}
	if others := bufferClasses.known.Load(); others != nil {
		known = append(known, *others...)
	}
	bufferClasses.known.Store(&known)
	return true
}

// isClass compares an address with every class of the process, without reading from
// that address.
func isClass(class uintptr) bool {
	var count uint32
	list := call(c.objc_copyClassList, uintptr(unsafe.Pointer(&count)))
	if list == 0 {
		return false
	}
	defer call(c.free, list)
	for _, known := range unsafe.Slice((*uintptr)(pointer(list)), count) {
		if known == class {
			return true
		}
	}
	return false
}
