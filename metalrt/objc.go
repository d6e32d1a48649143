// SPDX-License-Identifier: MIT

package metalrt

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// SEL is a selector, which Load registers. Its variable is named after it.
type SEL struct {
	name string
	id   uintptr
}

// Class is a class, which Load looks up.
type Class struct {
	name string
	id   uintptr
}

var (
	selectors []*SEL
	classes   []*Class
)

func selector(name string) *SEL {
	s := &SEL{name: name}
	selectors = append(selectors, s)
	return s
}

func class(name string) *Class {
	k := &Class{name: name}
	classes = append(classes, k)
	return k
}

var (
	class_NSString = class("NSString")

	sel_alloc                         = selector("alloc")
	sel_new                           = selector("new")
	sel_retain                        = selector("retain")
	sel_release                       = selector("release")
	sel_respondsToSelector            = selector("respondsToSelector:")
	sel_conformsToProtocol            = selector("conformsToProtocol:")
	sel_initWithBytes_length_encoding = selector("initWithBytes:length:encoding:")
	sel_lengthOfBytesUsingEncoding    = selector("lengthOfBytesUsingEncoding:")
	sel_UTF8String                    = selector("UTF8String")
	sel_localizedDescription          = selector("localizedDescription")
	sel_domain                        = selector("domain")
	sel_code                          = selector("code")
)

const utf8Encoding uintptr = 4 // NSUTF8StringEncoding

// call calls a C function whose arguments are integers and pointers. If an argument
// is converted from a Go pointer, the conversion must be part of the call expression.
// The argument list is allocated, so launches use quickCall.
//
//go:uintptrescapes
func call(function uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(function, args...)
	return r
}

// send sends a message whose arguments are integers and pointers. The rules of call
// apply. Launches use quickSend.
//
//go:uintptrescapes
func send(object uintptr, sel *SEL, args ...uintptr) uintptr {
	return call(c.objc_msgSend, append([]uintptr{object, sel.id}, args...)...)
}

// arguments is an argument list for SyscallN. Lists are reused because SyscallN makes
// them escape to the heap.
type arguments [12]uintptr

var argumentLists = sync.Pool{New: func() any { return new(arguments) }}

// quickCall is call for at most three arguments. The function ignores surplus ones.
//
//go:uintptrescapes
func quickCall(function, a0, a1, a2 uintptr) uintptr {
	a := argumentLists.Get().(*arguments)
	a[0], a[1], a[2] = a0, a1, a2
	r, _, _ := purego.SyscallN(function, a[:3]...)
	argumentLists.Put(a)
	return r
}

// quickSend is send for at most three arguments.
//
//go:uintptrescapes
func quickSend(object uintptr, sel *SEL, a0, a1, a2 uintptr) uintptr {
	a := argumentLists.Get().(*arguments)
	a[0], a[1], a[2], a[3], a[4] = object, sel.id, a0, a1, a2
	r, _, _ := purego.SyscallN(c.objc_msgSend, a[:5]...)
	argumentLists.Put(a)
	return r
}

// truth converts a C BOOL, of which only the low byte is defined.
func truth(r uintptr) bool { return r&0xff != 0 }

func boolean(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}

// callWithName calls a C function with one NUL-terminated string as its argument.
func callWithName(function uintptr, name string) uintptr {
	b := append([]byte(name), 0)
	return call(function, uintptr(unsafe.Pointer(&b[0])))
}

// goString copies n bytes from a C address.
func goString(address, n uintptr) string {
	if address == 0 {
		return ""
	}
	return string(unsafe.Slice((*byte)(pointer(address)), n))
}

// pointer converts a C address to a pointer, in a form that vet does not mistake for
// arithmetic on a Go pointer.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// Object is any Objective-C object.
type Object struct{ ID uintptr }

// Nil reports whether the reference is nil.
func (o Object) Nil() bool { return o.ID == 0 }

// Release removes one reference.
func (o Object) Release() { quickSend(o.ID, sel_release, 0, 0, 0) }

// Retain adds a reference.
func (o Object) Retain() { send(o.ID, sel_retain) }

// respondsTo reports whether the object implements a method.
func (o Object) respondsTo(s *SEL) bool {
	return truth(quickSend(o.ID, sel_respondsToSelector, s.id, 0, 0))
}

// Pool is an autorelease pool of the calling thread.
type Pool struct{ token uintptr }

// PushPool opens a pool and locks the goroutine to its thread until Pop.
func PushPool() Pool {
	runtime.LockOSThread()
	return Pool{quickCall(c.objc_autoreleasePoolPush, 0, 0, 0)}
}

// Pop releases every object that was autoreleased since PushPool.
func (p Pool) Pop() {
	quickCall(c.objc_autoreleasePoolPop, p.token, 0, 0)
	runtime.UnlockOSThread()
}

// newString returns an NSString, which the caller releases.
func newString(s string) Object {
	b := append([]byte(s), 0) // never empty, so that it has an address
	o := send(class_NSString.id, sel_alloc)
	return Object{send(o, sel_initWithBytes_length_encoding,
		uintptr(unsafe.Pointer(&b[0])), uintptr(len(s)), utf8Encoding)}
}

// text returns the contents of an NSString.
func text(o uintptr) string {
	if o == 0 {
		return ""
	}
	return goString(send(o, sel_UTF8String), send(o, sel_lengthOfBytesUsingEncoding, utf8Encoding))
}

// Error is a failure reported by Metal.
type Error struct {
	Call   string // the method that failed
	Domain string // of the NSError; empty if there was none
	Code   int
	Text   string
}

func (e *Error) Error() string {
	if e.Domain == "" {
		return fmt.Sprintf("metalrt: %s: %s", e.Call, e.Text)
	}
	return fmt.Sprintf("metalrt: %s: %s (%s %d)", e.Call, e.Text, e.Domain, e.Code)
}

// failure describes the NSError of a failed call, or says that there is none.
func failure(method string, nserror uintptr) error {
	if nserror == 0 {
		return &Error{Call: method, Text: "no object was returned, and no reason given"}
	}
	return &Error{
		Call:   method,
		Domain: text(send(nserror, sel_domain)),
		Code:   int(send(nserror, sel_code)),
		Text:   text(send(nserror, sel_localizedDescription)),
	}
}

// OutOfMemory reports whether the GPU ran out of memory, which is value 8 of
// MTLCommandBufferError.
//
// Reference: https://developer.apple.com/documentation/metal/mtlcommandbuffererror
func (e *Error) OutOfMemory() bool {
	return e.Domain == "MTLCommandBufferErrorDomain" && e.Code == 8
}
