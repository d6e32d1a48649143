// SPDX-License-Identifier: MIT

//go:build !linux

package sched

// processor is not known here.
func processor() int { return -1 }

func leave(int) {}
