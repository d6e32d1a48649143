// SPDX-License-Identifier: MIT

package main

// #include "header.h"
import "C"

import (
	"errors"
	"runtime/debug"
	"unicode/utf8"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/fenv"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// The status numbers of the header are those of core. If one differs, an index is out
// of range and the package does not compile.
var (
	_ = [1]struct{}{}[C.NATTEN_MPS_INTERRUPTED-core.Interrupted]
	_ = [1]struct{}{}[C.NATTEN_MPS_FLOAT64-core.Float64]
	_ = [1]struct{}{}[C.NATTEN_MPS_AV_BACKWARD-core.AVBackward]
	_ = [1]struct{}{}[C.NATTEN_MPS_METAL-core.Metal]
)

func invalid(format string, args ...any) error {
	return core.Errorf(core.InvalidArgument, format, args...)
}

// guarded wraps every export that can fail. It calls f and reports the outcome to the
// C caller, also when f panics.
func guarded(out *C.natten_mps_error, f func() error) (status C.int32_t) {
	scratch.Stack()
	environment := fenv.Default()
	defer environment.Restore()
	debug.SetPanicOnFault(true) // else a bad pointer ends the process
	defer func() {
		if recover() != nil { // out itself cannot be accessed
			status = C.NATTEN_MPS_INVALID_ARGUMENT
		}
	}()
	if !writable(out) {
		return C.NATTEN_MPS_INVALID_ARGUMENT
	}
	defer func() {
		p := recover()
		if known := core.Known(p); known != nil {
			status = report(out, known)
		} else if p != nil {
			status = report(out, core.Errorf(core.Internal, "internal error, please report it: %v\n%s", p, debug.Stack()))
		}
	}()
	return report(out, f())
}

// errorHeader is the number of bytes before the message of an error struct. The
// message has any length; longer texts are truncated.
const errorHeader = unsafe.Offsetof(errorStruct{}.message)

// writable reports whether out is NULL or has room for a message.
func writable(out *C.natten_mps_error) bool {
	return out == nil || uint64(out.size) > uint64(errorHeader) && out.size <= maxStructSize
}

func report(out *C.natten_mps_error, err error) C.int32_t {
	status, text := core.OK, ""
	if err != nil {
		status, text = core.Internal, err.Error()
		if known, ok := errors.AsType[*core.Error](err); ok { // does not allocate, as memory may be exhausted
			status = known.Status
		}
	}
	if out != nil {
		out.status = C.int32_t(status)
		room := min(uintptr(out.size), unsafe.Sizeof(*out)) - errorHeader
		writeText(out.message[:room], text)
	}
	return C.int32_t(status)
}

// writeText writes text and a NUL. Text that does not fit is truncated between
// characters.
func writeText(to []C.char, text string) {
	n := min(len(text), len(to)-1)
	for n < len(text) && n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	for i := range n {
		to[i] = C.char(text[i])
	}
	to[n] = 0
}
