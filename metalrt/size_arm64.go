// SPDX-License-Identifier: MIT

package metalrt

import (
	"sync"
	"unsafe"
)

var sizePairs = sync.Pool{New: func() any { return new([2]Size) }}

// sendSizes sends a message with two structs passed by value. AAPCS64 passes 24-byte
// structs as the address of a copy, which the callee may modify.
func sendSizes(object uintptr, sel *SEL, a, b *Size) {
	pair := sizePairs.Get().(*[2]Size)
	pair[0], pair[1] = *a, *b
	quickSend(object, sel, uintptr(unsafe.Pointer(&pair[0])), uintptr(unsafe.Pointer(&pair[1])), 0)
	sizePairs.Put(pair)
}
