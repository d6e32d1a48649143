// SPDX-License-Identifier: MIT

package metalrt

// libraries lists what Load opens. The files live in the shared cache of the
// dynamic linker, not on disk, and are found by these names all the same.
func libraries() (paths []string, why string) {
	return []string{
		"/usr/lib/libobjc.A.dylib",
		"/usr/lib/libSystem.B.dylib",
		"/System/Library/Frameworks/Foundation.framework/Foundation",
		"/System/Library/Frameworks/Metal.framework/Metal",
	}, ""
}
