// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCompileErrors(t *testing.T) {
	head := "#include <metal_stdlib>\nusing namespace metal;\n"
	for _, c := range []struct{ want, src string }{
		{"__global", "kernel void k(device float* p [[buffer(0)]]) { threadgroup float* q = p; q[0] = 1; }"},
		{"address space", "kernel void k(float* p [[buffer(0)]]) { p[0] = 1; }"},
		{"no matching function", "void f(thread float* p, int n) { p[0] = n; }\nkernel void k(device float* p [[buffer(0)]]) { f(p, 1); }"},
		{"no matching function", "template <typename T> void f(thread T* p) { p[0] = 1; }\nkernel void k(device float* p [[buffer(0)]]) { f(p); }"},
		{"assign", "kernel void k(device const float* p [[buffer(0)]]) { p[0] = 1; }"},
		{"assign", "kernel void k(constant int& n [[buffer(0)]]) { n = 1; }"},
		{"double", "kernel void k(device float* p [[buffer(0)]]) { double d = p[0]; p[0] = d; }"},
		{"share [[buffer(0)]]", "kernel void k(device float* p [[buffer(0)]], device float* q [[buffer(0)]]) { p[0] = q[0]; }"},
		{"last index is 30", "kernel void k(device float* p [[buffer(31)]]) { p[0] = 1; }"},
		{"cannot be", "kernel void k(device float* p [[buffer(0)]], uint3 l [[thread_index_in_simdgroup]]) { p[0] = l.x; }"},
		{"same number of components", "kernel void k(device float* p [[buffer(0)]], uint3 l [[thread_position_in_grid]], uint g [[threadgroup_position_in_grid]]) { p[0] = l.x + g; }"},
		{"this initializer", "kernel void k(device float* p [[buffer(0)]]) { threadgroup float x = 1; p[0] = x; }"},
		{"undeclared", "kernel void k(device float* p [[buffer(0)]]) { p[0] = erf(1.0f); }"},
		{"half4", "kernel void k(device half4* p [[buffer(0)]], device float4* q [[buffer(1)]]) { q[0] = p[0]; }"},
		{"ambiguous", "kernel void k(device half* p [[buffer(0)]], device float* q [[buffer(1)]]) { q[0] = max(p[0], q[0]); }"},
		{"function", "kernel void k(device float* p [[buffer(0)]]) { float (*f)(float) = 0; p[0] = f(1); }"},
		{"virtual", "struct S { virtual void f() {} }; kernel void k(device float* p [[buffer(0)]]) { S s; s.f(); p[0] = 1; }"},
		{"at build time", "constant bool a [[function_constant(0)]]; constant bool b = !a; kernel void k(device float* p [[buffer(0)]]) { p[0] = b; }"},
		{"no attribute", "kernel void k(device float* p, int n) { p[0] = n; }"},
	} {
		d := NewDevice()
		_, err := d.NewLibraryFromSource("k", head+c.src+"\n")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q for %s\n got %v", c.want, c.src, err)
			continue
		}
		for _, ln := range strings.Split(err.Error(), "\n") {
			if strings.Contains(ln, c.want) {
				t.Log(filepath.Base(strings.SplitN(ln, ".metal", 2)[0]) + ".metal" + strings.SplitN(ln+".metal", ".metal", 2)[1])
				break
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	d := NewDevice()
	l, err := d.NewLibraryFromSource("w", "#include <metal_stdlib>\nusing namespace metal;\nkernel void k(device float4* p [[buffer(0)]], device int4* q [[buffer(1)]]) { p[0] = (float4)q[0]; threadgroup float z[4] = {0}; z[0] = 1; }\n[[max_total_thread(3)]] kernel void k2(device int* p [[buffer(0)]]) { p[0] = 1; }\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(strings.Join(l.Warnings, "\n"))
	if len(l.Warnings) != 3 {
		t.Error(len(l.Warnings), "warnings")
	}
}
