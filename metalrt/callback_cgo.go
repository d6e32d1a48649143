// SPDX-License-Identifier: MIT

//go:build cgo

package metalrt

/*
#include <stdint.h>
extern void metalrt_queue_block(uintptr_t key);
extern void metalrt_command_block(void* function, uintptr_t key);
*/
import "C"

// Callbacks made by cgo neither allocate nor use reflection. Those of purego make
// three allocations per call.

//export metalrt_queue_block
func metalrt_queue_block(key C.uintptr_t) { runBlock(uintptr(key)) }

//export metalrt_command_block
func metalrt_command_block(_ *C.void, key C.uintptr_t) { runBlock(uintptr(key)) }

// queueBlock returns a C function void (*)(void*) for dispatch_sync_f.
func queueBlock() uintptr { return uintptr(C.metalrt_queue_block) }

// commandBlock returns a C function void (*)(function, void*) for
// aoti_torch_mps_run_command_block.
func commandBlock() uintptr { return uintptr(C.metalrt_command_block) }
