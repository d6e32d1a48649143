// SPDX-License-Identifier: MIT

//go:build cgo

// Package mtl launches kernels from Go tests, straight through the executor: for
// what the project's own kernels have not, such as function constants and planted
// bugs. It checks no use of the API; simulator does.
package mtl

import (
	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
)

// The modes that a device compiles in.
const (
	Checked = compile.Checked
	Fast    = compile.Fast
)

// Size is Metal's MTLSize.
type Size struct{ X, Y, Z int }

// Device carries the choices a run is made under.
type Device struct {
	Mode    compile.Mode
	Reverse bool // threads, simdgroups and threadgroups in descending order
	Shuffle bool // random order, by Seed
	Seed    uint32
	Workers int
}

// NewDevice gives a device in Checked mode.
func NewDevice() *Device { return &Device{Workers: 2} }
