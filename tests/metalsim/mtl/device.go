// SPDX-License-Identifier: MIT

//go:build cgo

// Package mtl is a stand-in for a Metal device for Go tests on Linux: it compiles
// .metal sources, holds the API's objects (library, pipeline, buffer, encoder),
// refuses what Metal's validation layer refuses, and runs what was encoded on
// the CPU.
package mtl

import (
	"os"

	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
)

// The modes that a device compiles in.
const (
	Checked  = compile.Checked
	Fast     = compile.Fast
	FastMath = compile.FastMath
	Fuzz     = compile.Fuzz
	Coverage = compile.Coverage
)

// Size is Metal's MTLSize.
type Size struct{ X, Y, Z int }

// Device carries the choices a run is made under.
type Device struct {
	Mode    compile.Mode
	Loose   bool // see MSL_LOOSE_THREAD in the shim
	Lenient bool // divergence at collectives is carried out instead of refused
	Reverse bool // threads, simdgroups and threadgroups in descending order
	Shuffle bool // random order, by Seed
	Seed    uint32
	NoRace  bool
	NoFTZ   bool
	Workers int
}

// ModeEnv names the mode of new devices, in place of checked.
const ModeEnv = "METALSIM_MODE"

// NewDevice gives a device in Checked mode, or in the one that the environment names.
func NewDevice() *Device {
	d := &Device{Workers: 2}
	if name := os.Getenv(ModeEnv); name != "" {
		mode, err := compile.ParseMode(name)
		if err != nil {
			panic(err)
		}
		d.Mode = mode
	}
	return d
}
