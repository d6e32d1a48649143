// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
)

// What the Metal Shading Language Specification 3.1 allows, by section.
var allowed = []struct{ section, declarations, body string }{
	{"2.1", "", "bfloat b = 1.0bf; bfloat c = -b; c += b; c = b * c; bool l = b < c; x[i] = float(c) + l;"},
	{"2.1", "", "bfloat2 v = bfloat2(float2(1, 2)); float2 f = float2(v); v.x = bfloat(f.y); v = v * v; x[i] = float(v.x);"},
	{"2.1", "", "half h = x[i]; int n = x[i]; uchar c = i; bool b = i; float f = n; h = 1.0; x[i] = h + n + c + b + f + 0.5h + 1'000 + 0b101 + 1e3 + 0x1F + 1.0f;"},
	{"2.1", "", "size_t n = sizeof(float); ptrdiff_t d = x - x; uint8_t a = 1; int64_t e = 2; x[i] = n + d + a + e;"},
	{"2.2", "", "float4 v{1, 2, 3, 4}; float2 w = {1, 2}; v += 1; v = 2 * v * w.x; v.xy += w; x[i] = v.wzyx.x + v.rgb.g + v[i & 3];"},
	{"2.2", "", "int4 n = int4(float4(1.5f)); bool4 b = bool4(n); n <<= 1; n = n % 3; x[i] = any(b) + n.x + all(b);"},
	{"2.2", "", "float4 a = 1, b = 2; float4 c = select(a, b, a < b); x[i] = select(x[i], 1.0f, i > 2) + c.x + any(isnan(a)) + all(a == b) + any(!(a < b));"},
	{"2.2", "", "packed_float3 p = packed_float3(float3(1)); float3 f = float3(p); p[0] = 2; x[i] = p[0] + f.x + ((device packed_float3*)x)[i][1];"},
	{"2.2", "", "uchar4 c = uchar4(1); ushort2 s = ushort2(c.xy); char2 d = char2(s); long2 l = long2(d); x[i] = l.x + ulong2(1).y;"},
	{"2.2", "", "vec<float, 3> v = vec<float, 3>(1, 2, 3); float3 w = float3(float2(1), 2); w = float3(1, float2(2)); x[i] = (v + w).x;"},
	{"2.3", "", "float3x3 m = float3x3(1.0f); float3 v = m * float3(1); m[0][1] = 2; x[i] = v.x + determinant(m) + transpose(m)[1][0] + m[2].x;"},
	{"2.3", "", "float2x2 m = float2x2(float2(1, 2), float2(3, 4)); half4x4 h(1.0h); x[i] = (m * m)[0][0] + (float2(1) * m).x + h[0].x;"},
	{"2.5", "struct alignas(16) S { float a; };", "S s = {1}; x[i] = s.a + alignof(S) + alignof(float4);"},
	{"2.11", "#include <metal_array>", "array<float, 4> a = {1, 2, 3, 4}; a[0] = 2; x[i] = a[1] + a.size();"},
	{"2.14", "", "x[i] = as_type<float>(i) + as_type<half2>(i).x + as_type<uint>(x[i]) + as_type<float2>(ulong(i)).x + float(as_type<bfloat>(ushort(1)));"},
	{"2.14", "", "device uchar* b = (device uchar*)x; device uint* u = reinterpret_cast<device uint*>(x); ulong n = reinterpret_cast<ulong>(x); ulong m = (ulong)x; b[0] = 1; x[i] = u[0] + (n == m);"},
	{"2.14", "", "device void* v = x; device float* p = static_cast<device float*>(v); device float* q = nullptr; device float* r = 0; x[i] = p[0] + (q == r);"},
	{"4", "inline float f(threadgroup float (&t)[4]) { return t[0]; }\ninline float g(threadgroup float* t, uint n) { return t[n]; }", "threadgroup float t[4]; t[i & 3] = 1; threadgroup_barrier(mem_flags::mem_threadgroup); x[i] = f(t) + g(t, i & 3) + g(&t[1], 0);"},
	{"4", "", "if (i < 100) { threadgroup float t[32]; t[i] = 1; x[i] = t[i]; } for (uint n = 0; n < 2; n++) { threadgroup float u; if (i == 0) u = 1; threadgroup_barrier(mem_flags::mem_threadgroup); x[i] += u; }"},
	{"4", "struct S { float a; float get() const device { return a; } float get() const constant { return 2 * a; } float get() const thread { return a; } void put(float b) device { a = b; } };\nconstant S c = {1};", "device S* s = (device S*)x; s->put(1); S t = {3}; x[i] = s->get() + c.get() + t.get();"},
	{"4", "template <typename T, typename U> inline void copy_(T to, U from, int n) { for (int k = 0; k < n; k++) to[k] = from[k]; }", "float a[4]; copy_(a, y, 4); copy_(x, a, 4);"},
	{"4", "template <typename P> struct Reader { P p; float at(int n) const thread { return p[n]; } };", "Reader<device const float*> r = {y}; Reader<device float*> s{x}; x[i] = r.at(0) + s.at(1);"},
	{"4.3", "static constant float a[] = {1, 2};\nnamespace n { constant float2 b = float2(1, 2); constant constexpr int c = 3; }\nstruct S { int a; float b[2]; };\nconstant S s = {1, {2, 3}};", "constant float* p = a; x[i] = p[1] + n::b.x + n::c + s.b[1];"},
	{"5.8", "constant bool has [[function_constant(3)]];\nkernel void g(device float* a [[buffer(0)]], device float* b [[buffer(1), function_constant(has)]], uint p [[thread_position_in_grid]]) { if (has) a[p] = b[p]; }", "x[i] = 1;"},
	{"5.8", "constant uint2 n [[function_constant(0)]];\nconstant half h [[function_constant(1)]];\nconstant uchar c [[function_constant(2)]];\nconstant float4 f [[function_constant(9)]];", "x[i] = n.x + h + c + f.w;"},
	{"5.2", "kernel void g(device float* a, constant int& n, uint p [[thread_position_in_grid]]) { if (p < uint(n)) a[p] = 1; }", "x[i] = 1;"},
	{"5.2", "struct S { int a; float b[3]; packed_float3 c; };\nkernel void g(constant S& s [[buffer(2)]], device S* t [[buffer(0)]], const device float& z [[buffer(1)]], constant uint3& d [[buffer(5)]], uint3 p [[thread_position_in_grid]], uint3 n [[threads_per_grid]]) { t[p.x].a = s.a + int(z) + d.x + n.y; }", "x[i] = 1;"},
	{"5.2", "kernel void g(device float* a [[buffer(0)]], ushort2 p [[thread_position_in_threadgroup]], ushort2 n [[threads_per_threadgroup]], uint2 g [[threadgroup_position_in_grid]], uint2 t [[threadgroups_per_grid]], ushort l [[thread_index_in_threadgroup]], ushort w [[threads_per_simdgroup]], uint s [[simdgroups_per_threadgroup]]) { a[l] = p.x + n.x + g.x + t.y + w + s; }", "x[i] = 1;"},
	{"5.2", "[[host_name(\"z\")]] kernel void g(device float* a [[buffer(0)]]) { a[0] = 1; }", "x[i] = 1;"},
	{"4", "", "device float* thread* p = nullptr; device float* q = x; device float* thread& r = q; const device float* const s = y; x[i] = r[0] + s[0] + (p == nullptr);"},
	{"2.2", "", "auto m = float4(1) < float4(2); bool4 n = m; half4 h = half4(1); x[i] = any(m) + all(n) + any(h < half4(2)) + any(bool4(int4(1))) + all(metal::isnan(h));"},
	{"2.2", "template <typename T> bool f(vec<T, 4> a, vec<T, 4> b) { return any(a < b) && all(a == b); }\ninline bool4 g(float4 a) { return a < 2; }", "x[i] = f(float4(1), float4(2)) + f(int4(1), int4(2)) + any(g(float4(1)));"},
	{"5.2", "[[kernel]] void g(device float* a [[buffer(0)]], threadgroup float2* t [[threadgroup(1)]], const uint p [[thread_position_in_grid]]) { t[p] = 1; a[p] = t[p].x; }", "x[i] = 1;"},
	{"6.5", "", "x[i] = mix(x[i], 1.0f, 0.5f) + step(0, x[i]) + smoothstep(0, 1, x[i]) + fract(x[i]) + rint(x[i]) + round(x[i]) + trunc(x[i]) + ceil(x[i]) + copysign(1.0f, x[i]) + fdim(x[i], 1.0f) + fmod(x[i], 2.0f) + sign(x[i]) + saturate(x[i]) + pow(x[i], 2);"},
	{"6.5", "", "int e; float c, w; x[i] = frexp(x[i], e) + ldexp(x[i], 2) + modf(x[i], w) + sincos(x[i], c) + c + e + w;"},
	{"6.5", "", "x[i] = sin(x[i]) + tan(x[i]) + asin(x[i]) + acos(x[i]) + atan(x[i]) + atan2(x[i], 1.0f) + sinh(x[i]) + cosh(x[i]) + tanh(x[i]) + asinh(x[i]) + acosh(x[i]) + atanh(x[i]);"},
	{"6.5", "", "x[i] = exp(x[i]) + exp2(x[i]) + exp10(x[i]) + log(x[i]) + log2(x[i]) + log10(x[i]) + powr(x[i], 2.0f) + rsqrt(x[i]) + sinpi(x[i]) + cospi(x[i]) + tanpi(x[i]) + fabs(x[i]) + abs(x[i]);"},
	{"6.5", "", "x[i] = fmin(x[i], 1.0f) + fmax(x[i], 1.0f) + min3(x[i], 1.0f, 2.0f) + max3(x[i], 1.0f, 2.0f) + median3(x[i], 1.0f, 2.0f) + fmin3(x[i], 1.0f, 2.0f) + fmax3(x[i], 1.0f, 2.0f) + fmedian3(x[i], 1.0f, 2.0f);"},
	{"6.5", "", "half h = x[i]; h = exp(h) + max(h, 1.0h) + fma(h, h, h) + clamp(h, 0.0h, 1.0h) + sqrt(h) + abs(h) + floor(h); half4 v = max(half4(h), half4(1)); x[i] = v.x + tanh(v).y;"},
	{"6.5", "", "float3 v = max(float3(1), float3(2)); v = clamp(v, float3(0), float3(1)); v = mix(v, v, 0.5f); v = pow(v, float3(2)); v = fma(v, v, v); v = clamp(v, 0.0f, 1.0f); v = max(v, 0.0f); x[i] = v.x;"},
	{"6.5", "", "x[i] = fast::exp2(x[i]) + fast::sqrt(x[i]) + fast::rsqrt(x[i]) + fast::divide(x[i], 2.0f) + fast::fmax(x[i], 1.0f) + precise::exp(x[i]) + precise::divide(x[i], 2.0f) + precise::sqrt(x[i]);"},
	{"6.4", "", "int n = int(i); x[i] = abs(n) + absdiff(n, 2) + addsat(n, 1) + subsat(n, 1) + hadd(n, 1) + rhadd(n, 1) + clz(n) + ctz(n) + popcount(i) + mulhi(n, 3) + rotate(n, 2) + reverse_bits(i) + max3(n, 1, 2) + mad24(n, 2, 3) + mul24(n, 2) + extract_bits(i, 1u, 2u) + insert_bits(i, 1u, 2u, 3u) + madhi(n, 1, 2) + madsat(n, 1, 2) + median3(n, 1, 2);"},
	{"6.6", "", "float a = x[i]; x[i] = isfinite(a) + isinf(a) + isnan(a) + isnormal(a) + signbit(a) + isordered(a, 1.0f) + isunordered(a, 1.0f) + select(1, 2, a > 0);"},
	{"6.8", "", "float3 a = 1, b = 2; x[i] = dot(a, b) + cross(a, b).x + length(a) + length_squared(a) + distance(a, b) + distance_squared(a, b) + normalize(a).x + reflect(a, b).x + refract(a, b, 0.5f).x + faceforward(a, b, a).x + dot(half3(1), half3(2));"},
	{"6.9", "", "x[i] = simd_shuffle_and_fill_down(x[i], 1.0f, ushort(1)) + simd_shuffle_rotate_down(x[i], ushort(1)) + simd_shuffle_rotate_up(x[i], ushort(1)) + simd_is_first() + simd_prefix_exclusive_sum(x[i]) + simd_prefix_inclusive_sum(i) + simd_product(x[i]) + simd_and(i) + simd_xor(int(i)) + simd_broadcast_first(x[i]);"},
	{"6.9", "", "simd_vote v = simd_ballot(i > 2); simd_vote w = simd_active_threads_mask(); x[i] = v.all() + w.any() + ulong(simd_vote::vote_t(v));"},
	{"6.9", "", "simdgroup_barrier(mem_flags::mem_none); threadgroup_barrier(mem_flags::mem_device | mem_flags::mem_threadgroup); threadgroup_barrier(mem_flags(0)); x[i] = 1;"},
	{"6.13", "", "device atomic_uint* a = (device atomic_uint*)x; uint e = 1; x[i] = atomic_exchange_explicit(a, 1u, memory_order_relaxed) + atomic_fetch_sub_explicit(a, 1u, memory_order_relaxed) + atomic_fetch_min_explicit(a, 1u, memory_order_relaxed) + atomic_fetch_or_explicit(a, 1u, memory_order_relaxed) + atomic_fetch_xor_explicit(a, 1u, memory_order_relaxed) + atomic_compare_exchange_weak_explicit(a, &e, 2u, memory_order_relaxed, memory_order_relaxed);"},
	{"6.13", "", "device atomic_float* a = (device atomic_float*)x; atomic_fetch_add_explicit(a, 1.0f, memory_order_relaxed); atomic_fetch_sub_explicit(a, 1.0f, memory_order_relaxed); x[i] = atomic_load_explicit(a, memory_order_relaxed);"},
	{"6.13", "", "device atomic<int>* a = (device atomic<int>*)x; atomic_fetch_add_explicit(&a[i], 1, memory_order_relaxed); threadgroup atomic_uint t[2]; atomic_store_explicit(&t[0], 1, memory_order_relaxed); device atomic_bool* b = (device atomic_bool*)x; atomic_store_explicit(b, true, memory_order_relaxed);"},
	{"1.5 C++14", "struct N { int v; N(int n) { int m = n; float f[2] = {1, 2}; v = m + int(f[0]); } ~N() { int k = v; v = k; } operator int() const { int k = v; return k; } };", "N n(3); x[i] = int(n);"},
	{"1.5 C++14", "template <typename T, typename enable_if<is_same<T, float>::value, int>::type = 0> T f(T a) { return a; }\ntemplate <typename T, enable_if_t<is_integral<T>::value, bool> = true> T f(T a) { return a + 1; }", "x[i] = f(1.0f) + f(1);"},
	{"1.5 C++14", "template <typename T> struct Traits; template <> struct Traits<half> { using wide = float; }; template <> struct Traits<float> { using wide = float; };\ntemplate <typename T> typename Traits<T>::wide widen(T a) { return typename Traits<T>::wide(a); }", "x[i] = widen(half(1)) + widen(x[i]);"},
	{"1.5 C++14", "template <typename F> float apply(F f, float a) { return f(a); }\nstruct Twice { float operator()(float a) const { return 2 * a; } };", "x[i] = apply(Twice(), x[i]);"},
	{"1.5 C++14", "constexpr int sum(int n) { int s = 0; for (int k = 0; k <= n; k++) s += k; return s; }\ndecltype(auto) g(int a) { return a; }\ntemplate <int N> struct Fact { enum { value = N * Fact<N - 1>::value }; }; template <> struct Fact<0> { enum { value = 1 }; };", "float a[sum(3)]; a[0] = Fact<4>::value; x[i] = a[0] + g(1);"},
	{"1.5 C++14", "union U { float f; uint u; };\nstruct B { uint a : 4; uint b : 28; };\nstruct Q { union { float2 v; struct { float p, q; }; }; };", "U u; u.f = 1; B b = {1, 2}; Q q; q.v = float2(1); x[i] = u.u + b.a + q.p;"},
	{"1.5 C++14", "enum Kind : uint { first, second };\nenum class Mode { off, on };\nnamespace a { namespace b { inline float f() { return 1; } } }\nnamespace c = a::b;\nusing a::b::f;", "Kind k = first; Mode m = Mode::on; x[i] = (k == second) + (m == Mode::on) + c::f() + f() + int(m) + k;"},
	{"1.5 C++14", "struct V { float a; V() : a(0) {} explicit V(float b) : a(b) {} V operator*(V o) const { return V(a * o.a); } thread V& operator+=(V o) thread { a += o.a; return *this; } float operator[](int n) const { return a + n; } bool operator==(V o) const { return a == o.a; } };", "V v(2), w; w += v * v; x[i] = w[1] + (v == w);"},
	{"1.5 C++14", "inline float f(float a, float b = 2) { return a * b; }\nstatic inline float g(float a) { return a; }\nMETAL_FUNC float h(float a) { return a; }\n__attribute__((always_inline)) inline float k(float a) { return a; }\n[[gnu::always_inline]] inline float m(float a) { return a; }", "x[i] = f(1) + g(1) + h(1) + k(1) + m(1);"},
	{"1.5 C++14", "", "float a[3] = {1, 2, 3}; float s = 0; for (float v : a) s += v; for (thread float& v : a) v = 2; int n = 0; do { n++; } while (n < 3); switch (n) { case 1: case 2: s = 1; break; default: s += 2; } x[i] = s, x[0] = 1;"},
	{"1.5 C++14", "", "struct L { float a; }; L l = {1}; constexpr int c[2] = {1, 2}; const float d[2] = {1, 2}; auto e = x[i]; auto p = x + 1; const auto f = i; decltype(e) g = 1; typedef float F; using G = half; F h = 1; G k = 2; x[i] = l.a + c[i & 1] + d[i & 1] + e + p[0] + f + g + h + k;"},
	{"1.5 C++14", "template <typename... T> struct Count; template <> struct Count<> { static constexpr int get() { return 0; } }; template <typename H, typename... T> struct Count<H, T...> { static constexpr int get() { return 1 + Count<T...>::get(); } };\ntemplate <typename T> constant constexpr int size_of = sizeof(T);\ntemplate <typename T, int N> using Block = T[N];", "Block<float, 4> b; b[0] = Count<int, float>::get() + size_of<half>; x[i] = b[0];"},
	{"1.5 C++14", "", "#pragma unroll\n  for (int k = 0; k < 4; k++) x[i] += k;\n#pragma clang loop unroll_count(2)\n  for (int k = 0; k < 4; k++) x[i] += k;\n"},
	{"1.5 C++14", "", "int read_only = 1, write_only = 2, local = 3, global = 4, image2d = 5, event = 6, pipe = 7, generic = 9, uniform = 10; x[i] = read_only + write_only + local + global + image2d + event + pipe + generic + uniform;"},
	{"2.4 matrices of simdgroups", "", "simdgroup_float8x8 a(0), b = simdgroup_float8x8(1), c = make_filled_simdgroup_matrix<float, 8>(0.0f); threadgroup float t[64]; simdgroup_store(b, t, 8); simdgroup_load(a, t, 8, 0, false); simdgroup_multiply(c, a, b); x[i] = c.thread_elements()[0];"},
	{"2.4 matrices of simdgroups", "", "simdgroup_half8x8 a, b; simdgroup_float8x8 c(0); simdgroup_load(a, (device half*)x, 8); simdgroup_load(b, (device half*)x, 8); simdgroup_multiply_accumulate(c, a, b, c); simdgroup_store(c, x, 8);"},
	{"6 library", "#include <metal_math>\n#include <metal_compute>\n#include <metal_atomic>\n#include <metal_integer>\n#include <metal_limits>\n#include <metal_type_traits>\n#include <metal_simdgroup>", "x[i] = numeric_limits<float>::max() + numeric_limits<float>::infinity() + numeric_limits<int>::min() + numeric_limits<half>::lowest() + numeric_limits<uint>::max() + M_PI_F + FLT_MAX + INFINITY + INT_MAX + HALF_MAX + FLT_EPSILON;"},
}

func TestWhatTheSpecificationAllows(t *testing.T) {
	for _, c := range allowed {
		t.Run(c.section, func(t *testing.T) {
			t.Parallel()
			assert.NoError(t, compile.Check("k", inKernel(c.declarations, c.body)), "refused:\n%s\n%s", c.declarations, c.body)
		})
	}
}
