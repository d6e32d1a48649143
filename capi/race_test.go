// SPDX-License-Identifier: MIT

//go:build race

package main

// The race detector makes sync.Pool drop items at random.
func init() { underRaceDetector = true }
