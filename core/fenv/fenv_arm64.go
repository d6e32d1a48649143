// SPDX-License-Identifier: MIT

package fenv

// standard is the value of FPCR and FPSR after a reset: no exception traps, round to nearest.
const standard State = 0

// control has the bits of FPCR.
const control State = 1<<32 - 1

// get returns FPCR and, in the high half, FPSR.
func get() State

// set sets both.
func set(s State)
