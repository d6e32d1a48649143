// SPDX-License-Identifier: MIT

package simulator

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"
)

// objc sends messages to the simulator like a client of Metal.
type objc struct {
	*Simulator
	t *testing.T
}

// start returns a clean simulator, and resets it after the test.
func start(t *testing.T) objc {
	t.Helper()
	s, err := Load()
	require.NoError(t, err)
	runtime.LockOSThread()
	s.Clear()
	t.Cleanup(func() {
		runtime.UnlockOSThread()
		for name, value := range map[string]string{
			"mode": "checked", "order": "ascending", "schedule": "lazy", "torch": "2.15", "hide": "", "fail": "",
			"max_threads": "1024", "max_threads_for": "", "dispatch_type": "serial", "record": "", "page_size": "0",
		} {
			require.NoError(t, s.Set(name, value))
		}
	})
	return objc{s, t}
}

func (o objc) set(name, value string) { require.NoError(o.t, o.Set(name, value)) }

func (o objc) sel(name string) uintptr {
	b := append([]byte(name), 0)
	r, _, _ := purego.SyscallN(o.register, uintptr(unsafe.Pointer(&b[0])))
	return r
}

func (o objc) class(name string) uintptr {
	b := append([]byte(name), 0)
	r, _, _ := purego.SyscallN(o.getClass, uintptr(unsafe.Pointer(&b[0])))
	return r
}

//go:uintptrescapes
func (o objc) send(object uintptr, selector string, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(o.msgSend, append([]uintptr{object, o.sel(selector)}, args...)...)
	return r
}

// dispatch sends a message with two MTLSizes, which are passed on the stack or, on
// arm64, as addresses of copies.
func (o objc) dispatch(encoder uintptr, selector string, grid, group [3]uintptr) {
	if runtime.GOARCH == "arm64" {
		sizes := &[2][3]uintptr{grid, group}
		purego.SyscallN(o.msgSend, encoder, o.sel(selector), uintptr(unsafe.Pointer(&sizes[0])), uintptr(unsafe.Pointer(&sizes[1])))
		return
	}
	purego.SyscallN(o.msgSend, encoder, o.sel(selector), 0, 0, 0, 0, grid[0], grid[1], grid[2], group[0], group[1], group[2])
}

func (o objc) str(s string) uintptr {
	b := append([]byte(s), 0)
	return o.send(o.send(o.class("NSString"), "alloc"), "initWithBytes:length:encoding:", uintptr(unsafe.Pointer(&b[0])), uintptr(len(s)), 4)
}

func (o objc) text(s uintptr) string {
	p := o.send(s, "UTF8String")
	if p == 0 {
		return ""
	}
	return string(unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), o.send(s, "length")))
}

// finds requires that the new findings contain the given texts, one each, in order.
func (o objc) finds(texts ...string) {
	o.t.Helper()
	got := o.Findings()
	for i, want := range texts {
		require.Less(o.t, i, len(got), "missing finding %q, have %q", want, got)
		require.Contains(o.t, got[i], want)
	}
	require.Len(o.t, got, len(texts), "%q", got)
	o.Clear()
}

func (o objc) pool() uintptr     { return o.Call("objc_autoreleasePoolPush") }
func (o objc) pop(token uintptr) { o.Call("objc_autoreleasePoolPop", token) }

func TestMain(m *testing.M) {
	if runtime.GOOS != "linux" {
		fmt.Println("skipped: the simulator is for Linux")
		return
	}
	os.Exit(m.Run())
}

func TestMessages(t *testing.T) {
	o := start(t)
	s := o.str("grüß")
	require.Equal(t, "grüß", o.text(s))
	require.EqualValues(t, 6, o.send(s, "lengthOfBytesUsingEncoding:", 4))
	require.Zero(t, o.send(0, "length"), "a message to nil is 0")
	require.EqualValues(t, 1, o.send(s, "retainCount"))
	require.EqualValues(t, 1, o.send(s, "respondsToSelector:", o.sel("UTF8String"))&0xff)
	require.Zero(t, o.send(s, "respondsToSelector:", o.sel("commit"))&0xff)
	require.Equal(t, o.class("NSString"), o.Call("object_getClass", s))
	require.Zero(t, o.class("MTLTexture"))
	o.send(s, "release")
	o.finds()
}

func TestUnknownSelectorIsNamed(t *testing.T) {
	o := start(t)
	s := o.str("x")
	o.send(s, "newTexture")
	o.send(o.class("NSString"), "newTexture")
	o.finds("-[NSString newTexture]: unrecognized selector", "+[NSString newTexture]: unrecognized selector")
	o.send(s, "release")
}

func TestReferenceCounts(t *testing.T) {
	o := start(t)
	before := o.Live("NSString")
	s := o.str("x")
	o.send(s, "retain")
	o.send(s, "release")
	require.Equal(t, before+1, o.Live("NSString"))
	o.send(s, "release")
	require.Equal(t, before, o.Live("NSString"))
	o.send(s, "release")
	o.finds("message release to " + fmt.Sprintf("%#x", s) + ", which is no live object (a deallocated NSString)")
	o.Call("objc_release", s)
	o.finds("the NSString at " + fmt.Sprintf("%#x", s) + " was deallocated (over-released)")
	o.send(s+8, "length")
	o.send(12345, "length")
	o.finds("no live object", "no live object")
}

func TestAutoreleasePools(t *testing.T) {
	o := start(t)
	n := o.Live("NSString")
	outer := o.pool()
	o.Call("objc_autorelease", o.str("a"))
	inner := o.pool()
	o.Call("objc_autorelease", o.str("b"))
	require.Equal(t, n+2, o.Live("NSString"))
	o.pop(inner)
	require.Equal(t, n+1, o.Live("NSString"))
	o.pop(outer)
	require.Equal(t, n, o.Live("NSString"))
	o.finds()

	s := o.str("c")
	o.Call("objc_autorelease", s)
	o.finds("a NSString was autoreleased with no pool in place")
	o.send(s, "release")

	token := o.pool()
	o.pool()
	o.pop(token)
	o.finds("a pool inside was not popped")
	o.pop(token)
	o.finds("is no pool of this thread")
}

func TestHiding(t *testing.T) {
	o := start(t)
	require.NotZero(t, o.Symbol("aoti_torch_mps_run_command_block"))
	o.set("hide", "aoti,MTLCompileOptions.setMathMode:,MTLComputePipelineDescriptor,MTLCreateSystemDefaultDevice")
	require.Zero(t, o.Symbol("aoti_torch_mps_run_command_block"))
	require.Zero(t, o.Symbol("MTLCreateSystemDefaultDevice"))
	require.Zero(t, o.class("MTLComputePipelineDescriptor"))
	require.NotZero(t, o.Symbol("_ZN2at3mps19getCurrentMPSStreamEv"))
	options := o.send(o.class("MTLCompileOptions"), "new")
	require.Zero(t, o.send(options, "respondsToSelector:", o.sel("setMathMode:"))&0xff)
	o.send(options, "release")
	o.set("hide", "streams")
	require.NotZero(t, o.Symbol("aoti_torch_mps_run_command_block"), "hide names all that is hidden")
	require.Zero(t, o.Symbol("_ZN5torch3mps18get_dispatch_queueEv"))
	o.set("hide", "")
	o.set("torch", "2.9")
	require.Zero(t, o.Symbol("aoti_torch_mps_create_shader_library"))
	require.Error(t, o.Set("hide", "no_such_symbol"))
	require.ErrorContains(t, o.Set("mode", "quick"), "'quick' (want checked, fast")
	require.ErrorContains(t, o.Set("fail", "luck"), "no fault is called luck")
	require.ErrorContains(t, o.Set("speed", "1"), "no setting is called speed")
}

func TestMallocSizeTellsObjects(t *testing.T) {
	o := start(t)
	s := o.str("x")
	require.NotZero(t, o.Call("malloc_size", s))
	require.Zero(t, o.Call("malloc_size", s+16))
	o.send(s, "release")
	require.Zero(t, o.Call("malloc_size", s))
	require.True(t, strings.Contains(o.Report(), "live objects:"))
}
