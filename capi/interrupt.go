// SPDX-License-Identifier: MIT

package main

// #include <stdint.h>
//
// static int32_t natten_interrupted(uintptr_t function, uintptr_t context) {
//   return ((int32_t (*)(void*))function)((void*)context);
// }
import "C"

import (
	"time"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/fenv"
)

// askEvery is the time between two calls of the host's function.
const askEvery = 100 * time.Millisecond

// interrupted calls the host's function, but not more often than askEvery. A thread that C
// called stays with its goroutine, so the function runs on the thread that called the library.
func interrupted(function, context core.Address) func() bool {
	asked := time.Now()
	return func() bool {
		if time.Since(asked) < askEvery {
			return false
		}
		stop := C.natten_interrupted(C.uintptr_t(function), C.uintptr_t(context)) != 0
		fenv.Default() // which the function may have changed
		asked = time.Now()
		return stop
	}
}
