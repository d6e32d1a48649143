// SPDX-License-Identifier: MIT

package metalrt

import "syscall"

// libraries lists what Load opens. The files exist only in the dynamic linker's
// shared cache and not on disk, but dlopen finds them by these names.
//
// Apple's documentation of MTLCreateSystemDefaultDevice requires CoreGraphics in the
// process. It is optional here, because a session without a window server may lack
// it.
func libraries() (paths, optional []string, why string) {
	return []string{
		"/usr/lib/libobjc.A.dylib",
		"/usr/lib/libSystem.B.dylib",
		"/System/Library/Frameworks/Foundation.framework/Foundation",
		"/System/Library/Frameworks/Metal.framework/Metal",
	}, []string{"/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics"}, ""
}

// System returns the machine's model and the macOS build.
func System() string {
	model, _ := syscall.Sysctl("hw.model")
	build, _ := syscall.Sysctl("kern.osversion")
	return model + " macOS " + build
}
