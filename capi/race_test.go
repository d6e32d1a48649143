// SPDX-License-Identifier: MIT

//go:build race

package main

// The race detector makes sync.Pool forget things at random.
func init() { underRaceDetector = true }
