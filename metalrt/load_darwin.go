// SPDX-License-Identifier: MIT

package metalrt

import "syscall"

// libraries lists what Load opens. The files live in the shared cache of the
// dynamic linker, not on disk, and are found by these names all the same.
//
// Apple's page on MTLCreateSystemDefaultDevice wants CoreGraphics in the process; a
// session without a window server may be without it.
func libraries() (paths, optional []string, why string) {
	return []string{
		"/usr/lib/libobjc.A.dylib",
		"/usr/lib/libSystem.B.dylib",
		"/System/Library/Frameworks/Foundation.framework/Foundation",
		"/System/Library/Frameworks/Metal.framework/Metal",
	}, []string{"/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics"}, ""
}

// System names the machine's model and the build of macOS.
func System() string {
	model, _ := syscall.Sysctl("hw.model")
	build, _ := syscall.Sysctl("kern.osversion")
	return model + " macOS " + build
}
