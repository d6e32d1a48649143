// SPDX-License-Identifier: MIT

// Package bench has the naive twin of the kernels, which benchmarks measure them
// against.
package bench

import _ "embed"

// Twin is the MSL source of templates twin_forward, twin_backward and twin_gather,
// each of an element type and a head dimension.
//
//go:embed twin.metal
var Twin string
