// SPDX-License-Identifier: MIT

// Package core describes neighborhood attention problems, checks them, knows their
// window geometry, and prepares plans that a backend runs.
//
// A 1-D or 2-D problem is treated as a 3-D problem with leading axes of length 1, so
// that all code after [Problem.Normalize] sees three axes. The backends are in
// subpackages: ref (simple, float64), cpu (fast) and metal.
package core
