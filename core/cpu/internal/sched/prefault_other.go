// SPDX-License-Identifier: MIT

//go:build !linux

package sched

// NotResident returns false: residency is only queried on Linux.
func NotResident(Piece) bool { return false }

// Prefault does nothing: it is only implemented on Linux.
func Prefault(Piece) error { return nil }
