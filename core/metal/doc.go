// SPDX-License-Identifier: MIT

// Package metal decides which GPU kernels a problem runs on, with which parameters,
// bindings and grids. A Device carries these decisions out. The package builds and is
// tested on any system.
package metal
