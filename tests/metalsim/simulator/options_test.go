// SPDX-License-Identifier: MIT

package simulator

import (
	gomath "math"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	bfloatSource = `#include <metal_stdlib>
kernel void k(device bfloat* x [[buffer(0)]]) { x[0] = bfloat(1); }
`
	versionSource = `#include <metal_stdlib>
#if __METAL_VERSION__ != 320 || !defined(__HAVE_BFLOAT__)
#error "not 3.2"
#endif
kernel void k(device float* x [[buffer(0)]]) { x[0] = 1; }
`
	nanSource = `#include <metal_stdlib>
kernel void k(device float* x [[buffer(0)]]) { x[0] = x[0] != x[0] ? 1 : 2; }
`
)

func TestLanguageVersionIsHonoured(t *testing.T) {
	m := startMetal(t)
	for _, c := range []struct {
		source   string
		language int
		want     string // "": it compiles
	}{
		{bfloatSource, 3<<16 + 1, ""},
		{bfloatSource, 3 << 16, "unknown type name 'bfloat'"},
		{bfloatSource, 2<<16 + 4, "unknown type name 'bfloat'"},
		{versionSource, 3<<16 + 2, ""},
		{versionSource, 3<<16 + 1, "not 3.2"},
		{scaleSource, 3<<16 + 7, "invalid value '3.7' of languageVersion"},
	} {
		library, text := m.compileAs(c.source, c.language, 0)
		if c.want == "" {
			require.NotZero(t, library, text)
			m.send(library, "release")
		} else {
			require.Zero(t, library, c.language)
			require.Contains(t, text, c.want)
		}
	}
	m.finds()
	library, _ := m.compileAs(scaleSource, unset, 0)
	m.send(library, "release")
	m.finds("source: newLibraryWithSource: languageVersion is not set")
	library, _ = m.compileAs(scaleSource, 3<<16+1, unset)
	m.send(library, "release")
	m.finds("source: newLibraryWithSource: neither mathMode nor fastMathEnabled is set")
}

// Only fast mathematics assumes that NaN does not occur.
func TestMathModeIsHonoured(t *testing.T) {
	m := startMetal(t)
	for math, want := range []float32{1, 1, 2} {
		library, text := m.compileAs(nanSource, 3<<16+1, math)
		require.NotZero(t, library, text)
		p, text := m.pipelineOf(library, "k")
		require.NotZero(t, p, text)
		x, got := m.buffer(float32(gomath.NaN()))
		pool := m.pool()
		b, e := m.encoder()
		m.send(e, "setComputePipelineState:", p)
		m.send(e, "setBuffer:offset:atIndex:", x, 0, 0)
		m.dispatch(e, "dispatchThreads:threadsPerThreadgroup:", [3]uintptr{1, 1, 1}, [3]uintptr{1, 1, 1})
		status, text := m.finish(b, e)
		require.Equal(t, 4, status, text)
		require.Equal(t, want, got[0], "mode %d", math)
		m.pop(pool)
		m.send(p, "release")
		m.send(library, "release")
	}
	library, text := m.compileAs(scaleSource, 3<<16+1, 3)
	require.Zero(t, library)
	require.Contains(t, text, "invalid value '3' of mathMode")
	m.finds()
}
