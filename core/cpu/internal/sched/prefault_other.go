// SPDX-License-Identifier: MIT

//go:build !linux

package sched

// NotResident is not known here.
func NotResident(Piece) bool { return false }

// Prefault does nothing here.
func Prefault(Piece) error { return nil }
