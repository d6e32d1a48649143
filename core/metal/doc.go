// SPDX-License-Identifier: MIT

// Package metal is the GPU policy: which kernels a problem runs on, with which
// parameters, bindings and grids. It builds and is tested on any system; a
// Device carries its decisions out.
package metal
