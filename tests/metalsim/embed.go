// SPDX-License-Identifier: MIT

// Package metalsim holds what is needed to run Metal off a Mac: the headers and
// the run-time part that .metal sources are compiled with on Linux. Package
// compile builds them, package mtl launches kernels from Go tests of it. sim/ is the
// shared library that stands in for Metal and for torch's streams; package
// simulator builds and loads it.
package metalsim

import "embed"

// Files holds include/ (the stand-in for Metal's own headers) and rt/ (the executor).
//
//go:embed include rt
var Files embed.FS

// Rules holds what decides which sources are taken, a part of every cache's key.
//
//go:embed lower compile
var Rules embed.FS

// Simulator holds sim/ and what it includes: the source of libmetalsim.so.
//
//go:embed sim rt
var Simulator embed.FS
