// SPDX-License-Identifier: MIT

package metalrt

import (
	"sync"
	"unsafe"
)

var sizePairs = sync.Pool{New: func() any { return new([2]Size) }}

// sendSizes sends a message of two structs by value. The AAPCS64 rules pass
// structs of 24 bytes as the address of a copy, which the callee may change.
func sendSizes(object uintptr, sel *SEL, a, b *Size) {
	pair := sizePairs.Get().(*[2]Size)
	pair[0], pair[1] = *a, *b
	quickSend(object, sel, uintptr(unsafe.Pointer(&pair[0])), uintptr(unsafe.Pointer(&pair[1])), 0)
	sizePairs.Put(pair)
}
