// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
)

// The kinds of faults for which reject/ has one kernel each, in other places and forms.
// A body is placed in a kernel with x, i and y; declarations are placed before it.
var refusals = []struct{ kind, declarations, body string }{
	{"address space", "", "float* p = x; x[i] = p[0];"},
	{"address space", "", "auto* p = x; x[i] = p[0];"},
	{"address space", "", "auto& r = x[i]; r = 1;"},
	{"address space", "", "const auto& r = x[i]; x[0] = r;"},
	{"address space", "typedef float* pointer;", "x[i] = 1;"},
	{"address space", "using pointer = const float*;", "x[i] = 1;"},
	{"address space", "template <typename T> T f(T* p) { return p[0]; }", "x[i] = 1;"},
	{"address space", "template <typename T> T f(const T& p) { return p; }", "x[i] = 1;"},
	{"address space", "struct S { float a; float& get() { return a; } };", "x[i] = 1;"},
	{"address space", "struct S { float a[2]; thread float* get() thread { return a; } float* other; };", "x[i] = 1;"},
	{"address space", "template <typename T> struct P { T* data; };", "x[i] = 1;"},
	{"address space", "inline float f(float a[4]) { return a[0]; }", "float a[4] = {1, 2, 3, 4}; x[i] = f(a);"},
	{"address space", "inline float f(float (&a)[4]) { return a[0]; }", "x[i] = 1;"},
	{"address space", "", "x[i] = *(const float*)(&x[i]);"},
	{"address space", "", "x[i] = *reinterpret_cast<float*>(x);"},
	{"address space", "template <typename T> float f() { return sizeof(T); }", "x[i] = f<float*>();"},
	{"address space", "inline float f(device float** p) { return **p; }", "x[i] = 1;"},
	{"address space", "inline void f(metal::float4& v) { v = 1; }", "x[i] = 1;"},
	{"address space", "inline void f(vec<float, 4>* v) { }", "x[i] = 1;"},
	{"address space", "inline void f(unsigned int& v) { v = 1; }", "x[i] = 1;"},
	{"address space", "inline float f(float&& v) { return v; }", "x[i] = 1;"},
	{"address space", "inline float f(const thread float& v) { return v; }", "x[i] = f(x[i]); thread float* p = &x[i];"},
	{"address space", "struct S { float a; };\ninline float f(thread S* s) { return s->a; }", "x[i] = f((device S*)x);"},
	{"address space", "", "threadgroup float t[4]; device float* p = t; x[i] = p[0];"},
	{"address space", "", "constant float* p = x; x[i] = p[0];"},
	{"address space", "constant float c[2] = {1, 2};", "device const float* p = c; x[i] = p[0];"},
	{"program scope", "int counter = 0;", "x[i] = counter;"},
	{"program scope", "namespace n { float g[2] = {1, 2}; }", "x[i] = n::g[0];"},
	{"program scope", "constexpr float g = 1;", "x[i] = g;"},
	{"program scope", "struct S { static const int n = 3; };", "x[i] = S::n;"},
	{"program scope", "", "static int n = 0; x[i] = n++;"},
	{"program scope", "", "static constexpr int n = 3; x[i] = n;"},
	{"program scope", "constant float c = 1;", "c = 2; x[i] = c;"},
	{"program scope", "inline void f() { threadgroup int t; t = 1; }", "f(); x[i] = 1;"},
	{"types", "", "unsigned long long n = 1; x[i] = n;"},
	{"types", "", "x[i] = 1LL;"},
	{"types", "", "x[i] = 1ull;"},
	{"types", "", "x[i] = 1.5e3L;"},
	{"types", "", "vec<half, 8> v; x[i] = v[0];"},
	{"types", "", "vec<float, 1> v; x[i] = v[0];"},
	{"types", "", "x[i] = double(x[i]);"},
	{"types", "template <typename T> T f() { return T(1); }", "x[i] = f<double>();"},
	{"bfloat", "", "bfloat b(1); b = x[i]; x[i] = float(b);"},
	{"bfloat", "", "bfloat b = 1; x[i] = float(b);"},
	{"bfloat", "", "bfloat b = bfloat(1) * 2.0f; x[i] = float(b);"},
	{"bfloat", "", "bfloat b = bfloat(1); b += 1.0f; x[i] = float(b);"},
	{"bfloat", "", "bfloat b = bfloat(1); half h = half(1); x[i] = float(b * h);"},
	{"bfloat", "inline float f(bfloat b) { return float(b); }", "x[i] = f(1.0f);"},
	{"bfloat", "template <typename T> void put(device T* p, float v) { *p = v; }", "put((device bfloat*)x, 1.0f);"},
	{"bfloat", "template <typename T> T twice(T a) { return a * 2.0f; }", "x[i] = float(twice(bfloat(1)));"},
	{"bfloat", "struct S { bfloat b; };", "S s = {x[i]}; x[i] = float(s.b);"},
	{"bfloat", "", "x[i] = i > 2 ? bfloat(1) : 2.0f;"},
	{"bfloat", "", "bfloat4 v = 1.0f; x[i] = float(v.x);"},
	{"bfloat", "", "x[i] = float(exp(bfloat(1)));"},
	{"bfloat", "", "x[i] = float(fma(bfloat(1), bfloat(2), bfloat(3)));"},
	{"bfloat", "", "x[i] = float(abs(bfloat(1)));"},
	{"bfloat", "", "x[i] = float(simd_sum(bfloat(1)));"},
	{"vectors", "", "short4 a = 1; int4 b = a; x[i] = b.x;"},
	{"vectors", "", "float2 a = 1; float4 b = 2; x[i] = (a + b).x;"},
	{"vectors", "", "float4 a = 1, b = 2; int4 n = (a < b) + 1; x[i] = n.x;"},
	{"vectors", "", "float4 a = 1, b = 2; int4 n = a < b; x[i] = n.x;"},
	{"vectors", "", "bool4 m = float4(1) < float4(2); int4 n = int4(3) * m; x[i] = n.x;"},
	{"vectors", "", "float4 a = 1; thread float* p = &a.x; x[i] = *p;"},
	{"overloads", "", "x[i] = min(x[i], 1);"},
	{"overloads", "", "x[i] = clamp(x[i], 0, 1);"},
	{"overloads", "", "half h = 1; x[i] = fma(h, x[i], 1.0f) + fmax(h, 1);"},
	{"overloads", "", "uint n = 3; x[i] = max(n, 2);"},
	{"overloads", "", "x[i] = exp(1);"},
	{"overloads", "", "x[i] = length(int3(1));"},
	{"overloads", "", "x[i] = expm1(x[i]);"},
	{"overloads", "", "x[i] = lgamma(x[i]);"},
	{"overloads", "", "x[i] = erfc(x[i]);"},
	{"overloads", "", "x[i] = std::exp(x[i]);"},
	{"simd", "", "ulong n = 1; x[i] = simd_max(n);"},
	{"simd", "", "x[i] = simd_sum(i > 2);"},
	{"simd", "", "x[i] = simd_broadcast(i > 2, ushort(0));"},
	{"simd", "", "long n = 1; x[i] = simd_shuffle_down(n, ushort(1));"},
	{"simd", "", "x[i] = simd_and(x[i]);"},
	{"simd", "struct P { float a; };", "P p = {1}; x[i] = simd_broadcast_first(p).a;"},
	{"simd", "", "bool b = simd_ballot(i > 2); x[i] = b;"},
	{"simd", "", "simdgroup_barrier(1); x[i] = 1;"},
	{"atomics", "", "threadgroup int t; atomic_fetch_add_explicit(&t, 1, memory_order_relaxed); x[i] = 1;"},
	{"atomics", "", "device atomic_int* a = (device atomic_int*)x; atomic_fetch_add_explicit(a, 1, memory_order_acquire);"},
	{"atomics", "", "device atomic_int* a = (device atomic_int*)x; *a = 1;"},
	{"atomics", "", "device atomic_int* a = (device atomic_int*)x; int n = *a; x[i] = n;"},
	{"atomics", "", "device atomic_float* a = (device atomic_float*)x; atomic_fetch_max_explicit(a, 1.0f, memory_order_relaxed);"},
	{"atomics", "", "device atomic_int* a = (device atomic_int*)x; x[i] = atomic_load_explicit(a);"},
	{"C++", "", "delete (device float*)x;"},
	{"C++", "", "throw 1;"},
	{"C++", "", "x[i] = noexcept(x[i]);"},
	{"C++", "struct A { int a; };", "x[i] = typeid(A) == typeid(A);"},
	{"C++", "inline float f(int n) { return n < 2 ? 1 : n * f(n - 1); }", "x[i] = f(i);"},
	{"C++", "inline float g(int n);\ninline float f(int n) { return n < 2 ? 1 : g(n - 1); }\ninline float g(int n) { return f(n); }", "x[i] = f(i);"},
	{"C++", "", "register int n = 3; x[i] = n;"},
	{"C++", "", "float (*f)(float) = 0; x[i] = f(1);"},
	{"C++", "", "again: x[i] = 1; if (i > 3) goto again;"},
	{"C++", "", "x[i] = [&]() { return 1.0f; }();"},
	{"C++", "struct A { virtual ~A() {} };", "A a; x[i] = 1;"},
	{"C++", "", "__asm__ volatile(\"\"); x[i] = 1;"},
	{"C++17", "", "if constexpr (true) { x[i] = 1; }"},
	{"C++17", "struct P { int a, b; };", "P p = {1, 2}; auto [a, b] = p; x[i] = a + b;"},
	{"C++17", "template <typename... T> float sum(T... t) { return (t + ...); }", "x[i] = sum(1.0f, 2.0f);"},
	{"C++17", "namespace a::b { inline int f() { return 1; } }", "x[i] = a::b::f();"},
	{"C++17", "", "if (int n = int(i); n > 2) { x[i] = n; }"},
	{"C++17", "inline constant int n = 3;", "x[i] = n;"},
	{"C++17", "template <typename T> struct W { T a; W(T b) : a(b) {} };", "W w(1.0f); x[i] = w.a;"},
	{"C++17", "template <int N> inline int g() { static_assert(N > 0); return N; }", "x[i] = g<1>();"},
	{"C++17", "struct S { float a; S(float b) : a(b) { } S(const thread S&) = delete; };", "S s = S(1); x[i] = s.a;"},
	{"C++17", "struct A { int a; }; struct B : A { int b; };", "B b = {{1}, 2}; x[i] = b.b;"},
	{"C++17", "enum class E : int { one };", "E e{5}; x[i] = int(e);"},
	{"C++20", "struct P { int a, b; };", "P p = {.a = 1, .b = 2}; x[i] = p.a;"},
	{"C++20", "template <typename T> concept Any = true;", "x[i] = 1;"},
	{"C++20", "inline auto f(auto a) { return a; }", "x[i] = f(1.0f);"},
	{"C++20", "consteval int f() { return 1; }", "x[i] = f();"},
	{"C++20", "", "x[i] = (1 <=> 2) < 0;"},
	{"narrowing", "", "int n{x[i]}; x[i] = n;"},
	{"narrowing", "", "half h{x[i]}; x[i] = h;"},
	{"narrowing", "", "ushort s = {i}; x[i] = s;"},
	{"narrowing", "struct P { int a; };", "P p = {x[i]}; x[i] = p.a;"},
	{"narrowing", "", "int a[2] = {int(i), x[i]}; x[i] = a[0];"},
	{"attributes", "constant float3x3 m [[function_constant(0)]];", "x[i] = 1;"},
	{"attributes", "constant int n [[function_constant(70000)]];", "x[i] = n;"},
	{"attributes", "constant bool a [[function_constant(1)]];\nconstant bool b [[function_constant(1)]];", "x[i] = a && b;"},
	{"attributes", "kernel void other(device float* x [[buffer(0)]]) { x[0] = 1; }", "other(x);"},
	{"attributes", "template <typename T> kernel void other(device T* x [[buffer(0)]]) { x[0] = 1; }", "other<float>(x);"},
	{"attributes", "[[max_total_threads_per_threadgroup(-1)]] kernel void other(device float* x [[buffer(0)]]) { x[0] = 1; }", "x[i] = 1;"},
	{"attributes", "kernel void other(device float* x [[buffer(-1)]]) { x[0] = 1; }", "x[i] = 1;"},
	{"attributes", "kernel void other(device float* x [[buffer(0)]], float3 g [[thread_position_in_grid]]) { x[0] = 1; }", "x[i] = 1;"},
	{"attributes", "kernel void other(device float* x [[buffer(0)]], uint g [[thread_position_on_grid]]) { x[0] = 1; }", "x[i] = 1;"},
	{"attributes", "kernel float other(device float* x [[buffer(0)]]) { return x[0]; }", "x[i] = 1;"},
	{"matrices", "", "simdgroup_matrix<float, 16, 16> m; x[i] = 1;"},
	{"matrices", "", "simdgroup_matrix<short, 8, 8> m; x[i] = 1;"},
	{"matrices", "", "simdgroup_float8x8 a, b; a = a + b; x[i] = 1;"},
	{"matrices", "", "simdgroup_float8x8 a; simdgroup_half8x8 b; a = b; x[i] = 1;"},
	{"matrices", "", "simdgroup_half8x8 a; simdgroup_load(a, x); x[i] = 1;"},
	{"includes", "#include <algorithm>", "x[i] = 1;"},
	{"includes", "#include <simd_everything>", "x[i] = 1;"},
}

const frame = "#include <metal_stdlib>\n#include <metal_simdgroup_matrix>\nusing namespace metal;\n"

func inKernel(declarations, body string) string {
	return frame + declarations + "\nkernel void entry(device float* x [[buffer(0)]], device const float* y [[buffer(1)]], uint i [[thread_position_in_grid]]) {\n  " + body + "\n}\n"
}

func TestRefusedByKind(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			err := compile.Check("k", inKernel(c.declarations, c.body))
			assert.Error(t, err, "taken:\n%s\n%s", c.declarations, c.body)
		})
	}
}

// Code of kernels that are used elsewhere and that Apple's compiler accepts.
var idioms = []struct{ kind, declarations, body string }{
	{"address space", "template <typename T> T f(device const T* p, uint n) { return p[n]; }\ntemplate <typename T> T f(threadgroup const T* p, uint n) { return p[n]; }", "x[i] = f(y, i);"},
	{"address space", "template <typename T, int N> inline void fill(thread T (&a)[N], T v) { for (int k = 0; k < N; k++) a[k] = v; }", "float a[4]; fill(a, 2.0f); x[i] = a[0];"},
	{"address space", "struct S { float a; float get() const { return a; } void put(float b) thread { a = b; } };", "S s = {1}; s.put(2); x[i] = s.get();"},
	{"address space", "using U = device float*;", "U p = x; device auto& r = p[i]; r = 3; thread auto n = 4; const device float4* q = (const device float4*)y; x[0] = q->x + n;"},
	{"address space", "struct P { device float* data; constant int* shape; };", "P p; p.data = x; p.data[i] = 1;"},
	{"address space", "", "int m = 3, n = 4, k; k = m * n; k = m & n; k = (m) * n; bool b = m && n; uint4 v = uint4(1) * i; v = v & 3; x[i] = k * float(b) * v.x * sizeof(float) * 2 + float(m) * n;"},
	{"address space", "template <typename T, typename U = T, int N = 4> struct Tile { T v[N]; T row(int r) thread { return v[r]; } };", "Tile<float> t; x[i] = t.row(0);"},
	{"program scope", "constant float table[2] = {1, 2};\nconstant constexpr int N = 3;\nconstant const float c = 2;\nstatic constant int M = 4;", "x[i] = table[i & 1] + N + c + M;"},
	{"program scope", "struct S { static constant constexpr const int n = 3; enum { m = 4 }; };", "constexpr int k = 2; const float f = 1; x[i] = S::n + S::m + k + f;"},
	{"bfloat", "", "bfloat b = bfloat(x[i]); bfloat c = b; b = c * b + b; x[i] = float(b) * 2.0f + static_cast<float>(c);"},
	{"bfloat", "template <typename T> T twice(T a) { return T(float(a) * 2.0f); }", "device bfloat* p = (device bfloat*)x; p[i] = twice(p[i]); p[0] = static_cast<bfloat>(1.0f); bfloat d(2.0f);"},
	{"bfloat", "template <typename T> void put(device T* p, int n) { p += n; *p = T(1); p = p + 1; device T* q = p - n; q++; *q = *p; }", "put((device bfloat*)x, int(i)); device bfloat4* v = (device bfloat4*)x; v += i; *v = *v;"},
	{"vectors", "", "float4 a = float4(1, 2, 3, 4); half4 h = half4(a); a.xy = a.zw; float2 b = a.xx; bool4 m = a < float4(2); a = select(a, float4(0), m); x[i] = a.x + h.y + b.x + any(m) + dot(a, a);"},
	{"vectors", "", "float4 a = 1; bool4 m = (a < 2) & (a > 0); bool4 n = !m; bool both = all(m && n); x[i] = both ? 1 : 2;"},
	{"overloads", "", "half h = 1; x[i] = max(float(h), x[i]) + max(1, int(i)) + min(2u, i) + clamp(x[i], 0.0f, 1.0f) + fma(x[i], 2.0f, 1.0f) + fast::exp(x[i]) + precise::log(2.0f) + metal::exp2(x[i]);"},
	{"simd", "", "x[i] = simd_sum(x[i]) + simd_max(int(i)) + simd_shuffle_xor(half(1), ushort(1)) + simd_shuffle_down(float4(1), 1).x + simd_broadcast(i, ushort(0)) + simd_or(i) + simd_shuffle(ushort(i), ushort(0));"},
	{"simd", "", "x[i] = simd_any(i > 2) + simd_all(i > 2) + ulong(simd_vote::vote_t(simd_ballot(i > 2)));"},
	{"atomics", "", "device atomic_uint* a = (device atomic_uint*)x; atomic_fetch_add_explicit(a, 1u, memory_order_relaxed); x[i] = atomic_load_explicit(a, memory_order_relaxed);"},
	{"atomics", "", "threadgroup atomic_int t; atomic_store_explicit(&t, 0, memory_order_relaxed); threadgroup_barrier(mem_flags::mem_threadgroup); x[i] = atomic_load_explicit(&t, memory_order_relaxed);"},
	{"C++14", "template <typename... T> constexpr int count(T...) { return sizeof...(T); }\ntemplate <int N> struct R { static inline float f(float a) { return R<N - 1>::f(a) * 2; } };\ntemplate <> struct R<0> { static inline float f(float a) { return a; } };", "x[i] = count(1, 2) + R<3>::f(1);"},
	{"C++14", "template <typename T> constant constexpr bool is_half_v = is_same<T, half>::value;\nenum class E : int { one = 1 };\ninline auto f(float a) { return a; }", "E e = E::one; E g = static_cast<E>(2); x[i] = is_half_v<float> + int(e) + int(g) + f(1); static_assert(sizeof(float) == 4, \"\");"},
	{"C++14", "struct A { int a; A(int b) : a(b) {} }; struct B : A { B(int b) : A(b) {} int twice() const { return 2 * a; } };\ninline B make(int n) { return B(n); }", "B b = make(3); A a{1}; x[i] = b.twice() + a.a;"},
	{"C++14", "struct M { float a; M(float b) : a(b) {} M(const thread M&) = delete; float get() const { return a; } };\ninline float f(const thread M& m) { return m.get(); }", "M m(1); x[i] = f(m);"},
	{"C++14", "", "int n{3}; float f{1.0f}; float a[3] = {1, 2, float(i)}; half h = x[i]; uint u = i * 2; switch (n) { case 1: case 2: x[0] = 1; break; default: x[i] = n + f + a[0] + h + u; }"},
	{"attributes", "constant int n [[function_constant(0)]];\nconstant bool b [[function_constant(1)]];\nconstant half4 h [[function_constant(2)]];\ntemplate <typename T> kernel void g(device T* x [[buffer(0)]], uint i [[thread_position_in_grid]]) { x[i] = T(n); }\ntemplate [[host_name(\"g_f\")]] kernel void g<float>(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]);\ntemplate [[host_name(\"g_h\")]] [[kernel]] decltype(g<half>) g<half>;", "if (b) x[i] = n + h.x;"},
	{"attributes", "[[kernel, max_total_threads_per_threadgroup(256)]] void g(device float* x [[buffer(0)]], constant float& c [[buffer(1)]], threadgroup float* t [[threadgroup(0)]], uint3 i [[thread_position_in_grid]], ushort l [[thread_index_in_simdgroup]], uint s [[simdgroup_index_in_threadgroup]]) { t[l] = c; x[i.x] = t[l] + s; }", "x[i] = 1;"},
	{"matrices", "", "simdgroup_float8x8 a, b, c = make_filled_simdgroup_matrix<float, 8, 8>(0.0f); simdgroup_load(a, y); simdgroup_load(b, y, 8, ulong2(0, 0), true); simdgroup_multiply_accumulate(c, a, b, c); simdgroup_store(c, x); simdgroup_matrix<bfloat, 8, 8> d; thread auto& e = c.thread_elements(); e[0] = 1;"},
	{"preprocessor", "#if __METAL_VERSION__ >= 310\n#define DEFINE(T) inline T f_##T(T a) { return a; }\nDEFINE(float)\n#endif\n#pragma METAL fp math_mode(safe)", "_Pragma(\"clang loop unroll(full)\") for (int k = 0; k < 4; k++) x[i] = f_float(k);"},
}

func TestIdiomsAreTaken(t *testing.T) {
	for _, c := range idioms {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			err := compile.Check("k", inKernel(c.declarations, c.body))
			assert.NoError(t, err, "refused:\n%s\n%s", c.declarations, c.body)
		})
	}
}

// Messages name the place and the error, as Apple's do.
func TestRefusalsNameThePlace(t *testing.T) {
	_, err := NewDevice().NewLibraryFromSource("k", inKernel("", "bfloat b = x[i];"))
	require.Error(t, err)
	require.True(t, strings.HasPrefix(err.Error(), "k:6:14: error: no implicit conversion from 'float' to 'bfloat'"), err.Error())
}
