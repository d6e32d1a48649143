// SPDX-License-Identifier: MIT

package metalrt

import "unsafe"

var (
	sel_commandBuffer                              = selector("commandBuffer")
	sel_computeCommandEncoder                      = selector("computeCommandEncoder")
	sel_commit                                     = selector("commit")
	sel_waitUntilCompleted                         = selector("waitUntilCompleted")
	sel_status                                     = selector("status")
	sel_error                                      = selector("error")
	sel_device                                     = selector("device")
	sel_dispatchType                               = selector("dispatchType")
	sel_setComputePipelineState                    = selector("setComputePipelineState:")
	sel_setBuffer_offset_atIndex                   = selector("setBuffer:offset:atIndex:")
	sel_setBytes_length_atIndex                    = selector("setBytes:length:atIndex:")
	sel_dispatchThreadgroups_threadsPerThreadgroup = selector("dispatchThreadgroups:threadsPerThreadgroup:")
	sel_memoryBarrierWithScope                     = selector("memoryBarrierWithScope:")
	sel_endEncoding                                = selector("endEncoding")
)

// Size is the size of a grid or threadgroup, MTLSize.
//
// Reference: https://developer.apple.com/documentation/metal/mtlsize
type Size struct{ Width, Height, Depth uint }

// CommandQueue orders command buffers.
//
// Reference: https://developer.apple.com/documentation/metal/mtlcommandqueue
type CommandQueue struct{ Object }

// CommandBuffer returns a new, autoreleased command buffer.
func (q CommandQueue) CommandBuffer() (CommandBuffer, error) {
	b := CommandBuffer{Object{quickSend(q.ID, sel_commandBuffer, 0, 0, 0)}}
	if b.Nil() {
		return b, failure("commandBuffer", 0)
	}
	return b, nil
}

// CommandBufferStatus is a command buffer's progress on the GPU.
//
// Reference: https://developer.apple.com/documentation/metal/mtlcommandbufferstatus
type CommandBufferStatus int

// Statuses of a finished command buffer.
const (
	CommandBufferStatusCompleted CommandBufferStatus = 4
	CommandBufferStatusError     CommandBufferStatus = 5
)

// CommandBuffer holds encoded commands for the GPU.
//
// Reference: https://developer.apple.com/documentation/metal/mtlcommandbuffer
type CommandBuffer struct{ Object }

// ComputeCommandEncoder returns a new, autoreleased serial encoder.
func (b CommandBuffer) ComputeCommandEncoder() (ComputeCommandEncoder, error) {
	e := ComputeCommandEncoder{Object: Object{quickSend(b.ID, sel_computeCommandEncoder, 0, 0, 0)}}
	if e.Nil() {
		return e, failure("computeCommandEncoder", 0)
	}
	return e, nil
}

// Commit submits the commands to the GPU.
func (b CommandBuffer) Commit() { quickSend(b.ID, sel_commit, 0, 0, 0) }

// WaitUntilCompleted blocks until the GPU has finished.
func (b CommandBuffer) WaitUntilCompleted() { quickSend(b.ID, sel_waitUntilCompleted, 0, 0, 0) }

// Status reports whether the commands succeeded.
func (b CommandBuffer) Status() CommandBufferStatus {
	return CommandBufferStatus(quickSend(b.ID, sel_status, 0, 0, 0))
}

// Err describes why the commands failed.
func (b CommandBuffer) Err() error { return failure("commandBuffer", send(b.ID, sel_error)) }

// DispatchType says whether an encoder's dispatches may overlap.
//
// Reference: https://developer.apple.com/documentation/metal/mtldispatchtype
type DispatchType int

// Dispatch types.
const (
	DispatchTypeSerial     DispatchType = 0
	DispatchTypeConcurrent DispatchType = 1
)

// ComputeCommandEncoder writes dispatches into a command buffer.
//
// Reference: https://developer.apple.com/documentation/metal/mtlcomputecommandencoder
type ComputeCommandEncoder struct {
	Object
	Concurrent bool // dispatches may overlap
}

// Device returns the GPU that the encoder belongs to, or nil if the encoder does not
// say.
func (e ComputeCommandEncoder) Device() Device {
	if !e.respondsTo(sel_device) {
		return Device{}
	}
	return Device{Object{send(e.ID, sel_device)}}
}

// DispatchType returns the encoder's dispatch type. It is serial for encoders that do
// not say, such as recording ones.
func (e ComputeCommandEncoder) DispatchType() DispatchType {
	if !e.respondsTo(sel_dispatchType) {
		return DispatchTypeSerial
	}
	return DispatchType(quickSend(e.ID, sel_dispatchType, 0, 0, 0))
}

// SetComputePipelineState selects the kernel for the following dispatches.
func (e ComputeCommandEncoder) SetComputePipelineState(p ComputePipelineState) {
	quickSend(e.ID, sel_setComputePipelineState, p.ID, 0, 0)
}

// SetBuffer binds a buffer from an offset in bytes.
func (e ComputeCommandEncoder) SetBuffer(b Buffer, offset, index int) {
	quickSend(e.ID, sel_setBuffer_offset_atIndex, b.ID, uintptr(offset), uintptr(index))
}

// SetBytes binds a copy of at most 4096 bytes.
func (e ComputeCommandEncoder) SetBytes(b []byte, index int) {
	quickSend(e.ID, sel_setBytes_length_atIndex,
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(index))
}

// DispatchThreadgroups runs the kernel on a grid of full threadgroups.
func (e ComputeCommandEncoder) DispatchThreadgroups(groups, threads *Size) {
	sendSizes(e.ID, sel_dispatchThreadgroups_threadsPerThreadgroup, groups, threads)
}

// MemoryBarrier makes buffer writes of earlier dispatches visible to later ones.
func (e ComputeCommandEncoder) MemoryBarrier() {
	const buffers = 1 // MTLBarrierScopeBuffers
	quickSend(e.ID, sel_memoryBarrierWithScope, buffers, 0, 0)
}

// EndEncoding ends the encoder.
func (e ComputeCommandEncoder) EndEncoding() { quickSend(e.ID, sel_endEncoding, 0, 0, 0) }
