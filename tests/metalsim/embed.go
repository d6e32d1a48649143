// SPDX-License-Identifier: MIT

// Package metalsim contains what is needed to run Metal code without a Mac: the headers
// and the executor with which .metal sources are compiled on Linux. Package compile
// compiles them, and package mtl launches kernels in its Go tests. sim/ is the shared
// library that stands in for Metal and for torch's streams; package simulator builds
// and loads it.
package metalsim

import "embed"

// Files holds include/ (the stand-in for Metal's own headers) and rt/ (the executor).
//
//go:embed include rt
var Files embed.FS

// Rules holds the sources that decide which kernels are accepted; they are part of every
// cache key.
//
//go:embed lower compile
var Rules embed.FS

// Simulator holds sim/ and the headers that it includes: the source of libmetalsim.so.
//
//go:embed sim rt
var Simulator embed.FS
