// SPDX-License-Identifier: MIT

//go:build !linux

package main

import "time"

var started = time.Now()

// threadTime is the time of day here.
func threadTime() time.Duration { return time.Since(started) }
