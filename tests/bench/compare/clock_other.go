// SPDX-License-Identifier: MIT

//go:build !linux

package main

import "time"

var started = time.Now()

// threadTime is wall-clock time on this system.
func threadTime() time.Duration { return time.Since(started) }
