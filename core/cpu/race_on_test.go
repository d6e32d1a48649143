// SPDX-License-Identifier: MIT

//go:build race

package cpu

// raceDetector drops what sync.Pool holds now and then.
const raceDetector = true
