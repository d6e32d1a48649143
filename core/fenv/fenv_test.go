// SPDX-License-Identifier: MIT

//go:build amd64 || arm64

package fenv

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// upward is round to +infinity.
var upward = map[string]State{"amd64": 0x5f80, "arm64": 1 << 22}[runtime.GOARCH]

//go:noinline
func divided(a, b float64) float64 { return a / b }

func TestDefault(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	third := divided(1, 3)
	before := get()
	set(upward)
	require.Equal(t, upward, get()&^0x3f&(1<<32-1), "without flags")
	up := divided(1, 3)
	s := Default()
	down := divided(1, 3)
	s.Restore()
	again := divided(1, 3)
	set(before)
	require.Greater(t, up, third)
	require.Equal(t, third, down)
	require.Equal(t, up, again)
}

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		Default().Restore()
	}
}
