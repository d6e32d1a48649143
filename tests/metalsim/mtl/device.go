// SPDX-License-Identifier: MIT

//go:build cgo

// Package mtl launches kernels from Go tests directly through the executor, for features
// that the project's own kernels lack, such as function constants and deliberate bugs. It
// does not check the use of the API; package simulator does.
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

// Device holds the settings of a run.
type Device struct {
	Mode    compile.Mode
	Reverse bool // threads, simdgroups and threadgroups in descending order
	Shuffle bool // random order, by Seed
	Seed    uint32
	Workers int
}

// NewDevice returns a device in Checked mode.
func NewDevice() *Device { return &Device{Workers: 2} }
