// SPDX-License-Identifier: MIT

package fenv

// standard is the value of MXCSR after a reset (Intel SDM, volume 1, 10.2.3): all exceptions
// masked, round to nearest.
const standard State = 0x1f80

// control has the bits that are no flags.
const control State = 0xffc0

// get returns MXCSR.
func get() State

// set sets MXCSR.
func set(s State)
