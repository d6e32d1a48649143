// SPDX-License-Identifier: MIT

package metalrt

import (
	"errors"
	"fmt"
	"sync"
)

// Encoding writes dispatches into an encoder. Encode is called on the thread that
// owns the encoder. It must not keep the encoder after the call, nor wait for another
// encoding. If the encoder is concurrent, it must put a memory barrier between
// dispatches of which one reads what the other writes.
type Encoding interface {
	Encode(e ComputeCommandEncoder) error
}

// block is the state of one Encoding while C code calls back into Go.
type block struct {
	encoding Encoding
	torch    *Torch
	stream   uintptr // an MPSStream
	ran      bool
	err      error
}

// blocks maps integers to blocks, since C may not keep Go pointers. Blocks are
// reused, so that a launch allocates nothing.
var blocks struct {
	sync.Mutex
	all  []*block
	free []uintptr
}

func takeBlock() (*block, uintptr) {
	blocks.Lock()
	defer blocks.Unlock()
	if n := len(blocks.free); n > 0 {
		key := blocks.free[n-1]
		blocks.free = blocks.free[:n-1]
		return blocks.all[key], key
	}
	blocks.all = append(blocks.all, new(block))
	key := uintptr(len(blocks.all) - 1)
	return blocks.all[key], key
}

func returnBlock(b *block, key uintptr) {
	*b = block{}
	blocks.Lock()
	defer blocks.Unlock()
	blocks.free = append(blocks.free, key)
}

// runBlock is called back by C on the stream's queue. It recovers from every panic.
func runBlock(key uintptr) {
	blocks.Lock()
	b := blocks.all[key]
	blocks.Unlock()
	defer func() {
		if r := recover(); r != nil {
			b.err = fmt.Errorf("metalrt: panic while encoding: %v", r)
		}
	}()
	b.ran = true
	b.err = b.run()
}

var errNoEncoder = errors.New("metalrt: torch gave no encoder for its stream")

// run encodes into torch's open encoder. Torch ends the encoder, not run.
func (b *block) run() error {
	defer PushPool().Pop()
	e := ComputeCommandEncoder{Object: Object{quickCall(b.torch.commandEncoder, b.stream, 0, 0)}}
	if e.Nil() {
		return errNoEncoder
	}
	return encodeInOrder(e, b.encoding)
}

// encodeInOrder tells an encoding whether the encoder's dispatches may overlap. If
// so, it puts memory barriers around the encoding.
func encodeInOrder(e ComputeCommandEncoder, encoding Encoding) error {
	e.Concurrent = e.DispatchType() == DispatchTypeConcurrent
	if !e.Concurrent {
		return encoding.Encode(e)
	}
	e.MemoryBarrier()
	defer e.MemoryBarrier()
	return encoding.Encode(e)
}
