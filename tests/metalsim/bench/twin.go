// SPDX-License-Identifier: MIT

// Package bench has the naive twin of the kernels, which is the baseline of benchmarks.
package bench

import _ "embed"

// Twin is the MSL source of the templates twin_forward, twin_backward and twin_gather,
// whose parameters are an element type and a head dimension.
//
//go:embed twin.metal
var Twin string
