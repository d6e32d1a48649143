// SPDX-License-Identifier: MIT

//go:build !cgo

package metalrt

import (
	"sync"

	"github.com/ebitengine/purego"
)

// queueBlock returns a C function void (*)(void*) for dispatch_sync_f.
var queueBlock = sync.OnceValue(func() uintptr {
	return purego.NewCallback(func(key uintptr) uintptr {
		runBlock(key)
		return 0
	})
})

// commandBlock returns a C function void (*)(function, void*) for
// aoti_torch_mps_run_command_block.
var commandBlock = sync.OnceValue(func() uintptr {
	return purego.NewCallback(func(_, key uintptr) uintptr {
		runBlock(key)
		return 0
	})
})
