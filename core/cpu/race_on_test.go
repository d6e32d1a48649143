// SPDX-License-Identifier: MIT

//go:build race

package cpu

// raceDetector reports whether the race detector is on. With it sync.Pool randomly drops
// objects.
const raceDetector = true
