// SPDX-License-Identifier: MIT

package metalrt

import "github.com/ebitengine/purego"

// sendSizes sends a message of two structs by value. The System V rules copy
// structs of 24 bytes to the stack, whatever registers are free. SyscallN puts
// its seventh argument first there, so the four registers between are left idle.
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
