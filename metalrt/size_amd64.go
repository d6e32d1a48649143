// SPDX-License-Identifier: MIT

package metalrt

import "github.com/ebitengine/purego"

// sendSizes sends a message with two structs passed by value. The System V ABI copies
// 24-byte structs to the stack even if registers are free. SyscallN puts only its
// seventh and later arguments on the stack, so the four remaining register arguments
// are padding.
func sendSizes(object uintptr, sel *SEL, a, b *Size) {
	list := argumentLists.Get().(*arguments)
	*list = arguments{
		object, sel.id, 0, 0, 0, 0,
		uintptr(a.Width), uintptr(a.Height), uintptr(a.Depth),
		uintptr(b.Width), uintptr(b.Height), uintptr(b.Depth),
	}
	purego.SyscallN(c.objc_msgSend, list[:]...)
	argumentLists.Put(list)
}
