// SPDX-License-Identifier: MIT

// Package core describes neighborhood attention problems, checks them, knows
// their window geometry, and prepares plans that a backend runs.
//
// A 1-D or 2-D problem is a 3-D problem with unit axes in front, so that
// everything behind [Problem.Normalize] sees three axes. Backends live in the
// packages below: ref (obvious, float64), cpu (fast) and metal.
package core
