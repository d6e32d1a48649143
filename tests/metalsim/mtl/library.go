// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"sync"
	"unsafe"

	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
	"github.com/natten-mps/natten-mps/tests/metalsim/lower"
)

// Library is a compiled source.
type Library struct {
	dev       *Device
	unit      *lower.Unit
	so        string
	handle    unsafe.Pointer
	run, desc unsafe.Pointer
	mu        sync.Mutex
	Warnings  []string
}

// NewLibrary compiles a file.
func (d *Device) NewLibrary(file string) (*Library, error) {
	a, err := compile.File(file, compile.Options{Mode: d.Mode})
	if err != nil {
		return nil, err
	}
	return d.load(a)
}

// NewLibraryFromSource compiles a text; messages refer to it by name.
func (d *Device) NewLibraryFromSource(name, src string) (*Library, error) {
	a, err := compile.Source(name, src, compile.Options{Mode: d.Mode})
	if err != nil {
		return nil, err
	}
	return d.load(a)
}

func (d *Device) load(a *compile.Artifact) (*Library, error) {
	l := &Library{dev: d, unit: a.Unit, so: a.SO, Warnings: a.Unit.Warnings}
	var err error
	cs := C.CString(a.SO)
	defer C.free(unsafe.Pointer(cs))
	if l.handle = C.dlopen(cs, C.RTLD_NOW|C.RTLD_LOCAL); l.handle == nil {
		return nil, errors.New(C.GoString(C.dlerror()))
	}
	if l.run, err = l.sym("msl_run"); err != nil {
		return nil, err
	}
	if l.desc, err = l.sym("msl_argdesc"); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Library) sym(name string) (unsafe.Pointer, error) {
	cs := C.CString(name)
	defer C.free(unsafe.Pointer(cs))
	if p := C.dlsym(l.handle, cs); p != nil {
		return p, nil
	}
	return nil, errors.New(C.GoString(C.dlerror()))
}

// Functions lists the kernels' names.
func (l *Library) Functions() []string {
	var n []string
	for _, k := range l.unit.Kernels {
		n = append(n, k.Host)
	}
	return n
}
