// SPDX-License-Identifier: MIT

package metalrt

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ebitengine/purego"
)

// functions holds addresses of C functions.
type functions struct {
	objc_msgSend             uintptr
	objc_getClass            uintptr
	objc_getProtocol         uintptr
	objc_copyClassList       uintptr
	objc_autoreleasePoolPush uintptr
	objc_autoreleasePoolPop  uintptr
	object_getClass          uintptr
	sel_registerName         uintptr
	malloc_size              uintptr
	free                     uintptr
	dispatch_sync_f          uintptr

	// Each is 0 if there is no such function; one of them is enough.
	MTLCopyAllDevices, MTLCreateSystemDefaultDevice uintptr
}

func (f *functions) symbols() map[string]*uintptr {
	return map[string]*uintptr{
		"objc_msgSend":             &f.objc_msgSend,
		"objc_getClass":            &f.objc_getClass,
		"objc_getProtocol":         &f.objc_getProtocol,
		"objc_copyClassList":       &f.objc_copyClassList,
		"objc_autoreleasePoolPush": &f.objc_autoreleasePoolPush,
		"objc_autoreleasePoolPop":  &f.objc_autoreleasePoolPop,
		"object_getClass":          &f.object_getClass,
		"sel_registerName":         &f.sel_registerName,
		"malloc_size":              &f.malloc_size,
		"free":                     &f.free,
		"dispatch_sync_f":          &f.dispatch_sync_f,
	}
}

// ways lists the functions that find a GPU. One of them is enough.
func (f *functions) ways() map[string]*uintptr {
	return map[string]*uintptr{
		"MTLCopyAllDevices":            &f.MTLCopyAllDevices,
		"MTLCreateSystemDefaultDevice": &f.MTLCreateSystemDefaultDevice,
	}
}

// simulator is the path that Simulate was given.
var simulator string

// Simulate makes Load open a library in place of Metal, for tests on systems without
// Metal. It has no effect on macOS. The C library calls it only if it was built for
// tests, with the build tag simulator.
func Simulate(path string) { simulator = path }

// c is valid after a successful Load.
var c functions

// Load opens the libraries and looks up every function, class and selector of this
// package. It does so once. Later calls return the same error.
var Load = sync.OnceValue(load)

func load() error {
	paths, optional, why := libraries()
	if why != "" {
		return fmt.Errorf("metalrt: not available: %s", why)
	}
	if err := c.open(paths, optional); err != nil {
		return fmt.Errorf("metalrt: not available: %w", err)
	}
	for _, s := range selectors {
		s.id = callWithName(c.sel_registerName, s.name)
	}
	for _, k := range classes {
		if k.id = callWithName(c.objc_getClass, k.name); k.id == 0 {
			return fmt.Errorf("metalrt: not available: no class %s in %v", k.name, paths)
		}
	}
	return nil
}

// open first opens the optional libraries that exist, and then finds every function in
// the libraries at paths.
func (f *functions) open(paths, optional []string) error {
	for _, path := range optional {
		_, _ = purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	}
	handles := make([]uintptr, len(paths))
	for i, path := range paths {
		handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			return fmt.Errorf("cannot open %s: %w", path, err)
		}
		handles[i] = handle
	}
	if missing := find(handles, f.symbols()); len(missing) > 0 {
		return notFound(missing, paths)
	}
	if missing := find(handles, f.ways()); f.MTLCopyAllDevices == 0 && f.MTLCreateSystemDefaultDevice == 0 {
		return notFound(missing, paths)
	}
	return nil
}

func notFound(names, paths []string) error {
	return fmt.Errorf("%s not found in %s", strings.Join(names, ", "), strings.Join(paths, ", "))
}

// find looks up each symbol in the first library that has it, and returns the names of
// the symbols that no library has.
func find(handles []uintptr, symbols map[string]*uintptr) (missing []string) {
	for name, address := range symbols {
		for _, handle := range handles {
			if found, err := purego.Dlsym(handle, name); err == nil {
				*address = found
				break
			}
		}
		if *address == 0 {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}
