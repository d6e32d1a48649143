// SPDX-License-Identifier: MIT
//
// msl_math.h -- bits, limits and mathematics; part of metal_stdlib, inside its
// namespace metal.
#pragma clang system_header

// --------------------------------------------------------- bits and limits
template <class To, class From> __MSL_INL To as_type(From f) {
  static_assert(sizeof(To) == sizeof(From), "as_type: sizes differ");
  return __builtin_bit_cast(To, f);
}
template <class T> struct numeric_limits;
#define __MSL_LIM_I(T, MN, MX, D) template <> struct numeric_limits<T> { static constexpr bool is_integer() { return true; } \
  static constexpr T max() { return MX; } static constexpr T min() { return MN; } static constexpr T lowest() { return MN; } static constexpr __constant int digits = D; };
__MSL_LIM_I(char, -128, 127, 7) __MSL_LIM_I(uchar, 0, 255, 8) __MSL_LIM_I(short, -32768, 32767, 15) __MSL_LIM_I(ushort, 0, 65535, 16)
__MSL_LIM_I(int, (-2147483647 - 1), 2147483647, 31) __MSL_LIM_I(uint, 0, 0xffffffffu, 32)
__MSL_LIM_I(long, (-0x7fffffffffffffffl - 1), 0x7fffffffffffffffl, 63) __MSL_LIM_I(ulong, 0, 0xfffffffffffffffful, 64)
#define __MSL_LIM_F(T, U, MN, MX, LO, EP, IN, QN, D) template <> struct numeric_limits<T> { \
  static constexpr T max() { return __builtin_bit_cast(T, (U)MX); } static constexpr T min() { return __builtin_bit_cast(T, (U)MN); } \
  static constexpr T lowest() { return __builtin_bit_cast(T, (U)LO); } static constexpr T epsilon() { return __builtin_bit_cast(T, (U)EP); } \
  static constexpr T infinity() { return __builtin_bit_cast(T, (U)IN); } static constexpr T quiet_NaN() { return __builtin_bit_cast(T, (U)QN); } \
  static constexpr __constant int digits = D; };
__MSL_LIM_F(float, uint, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x34000000, 0x7f800000, 0x7fc00000, 24)
__MSL_LIM_F(half, ushort, 0x0400, 0x7bff, 0xfbff, 0x1400, 0x7c00, 0x7e00, 11)
__MSL_LIM_F(bfloat, ushort, 0x0080, 0x7f7f, 0xff7f, 0x3c00, 0x7f80, 0x7fc0, 8)

// -------------------------------------------------------------------- math
// The raw float functions. Tests can add noise of MSL_FUZZ_ULPS ulps to the
// transcendental ones, to show that a tolerance does not depend on libm's results.
#ifdef __NVPTX__
#define __MSL_MATH(name, x) __msl_ptx_##name(x)
__MSL_INL float __msl_ptx_exp2(float x) { return __nvvm_ex2_approx_ftz_f(x); }
__MSL_INL float __msl_ptx_exp(float x) { return __nvvm_ex2_approx_ftz_f(x * 1.44269504088896340736f); }
__MSL_INL float __msl_ptx_exp10(float x) { return __nvvm_ex2_approx_ftz_f(x * 3.32192809488736234787f); }
__MSL_INL float __msl_ptx_log2(float x) { return __nvvm_lg2_approx_f(x); }
__MSL_INL float __msl_ptx_log(float x) { return __nvvm_lg2_approx_f(x) * 0.69314718055994530942f; }
__MSL_INL float __msl_ptx_log10(float x) { return __nvvm_lg2_approx_f(x) * 0.30102999566398119521f; }
__MSL_INL float __msl_ptx_sin(float x) { return __nvvm_sin_approx_f(x); }
__MSL_INL float __msl_ptx_cos(float x) { return __nvvm_cos_approx_f(x); }
__MSL_INL float __msl_ptx_tan(float x) { return __nvvm_sin_approx_f(x) / __nvvm_cos_approx_f(x); }
__MSL_INL float __msl_ptx_tanh(float x) { float e = __msl_ptx_exp(2.0f * x); return 1.0f - 2.0f / (e + 1.0f); }
__MSL_INL float __msl_ptx_atan(float x) { // accurate to 1e-5 only
  float a = __builtin_fabsf(x), z = a > 1 ? 1 / a : a, q = z * z;
  float r = z * (0.99997726f + q * (-0.33262347f + q * (0.19354346f + q * (-0.11643287f + q * (0.05265332f + q * -0.01172120f)))));
  r = a > 1 ? 1.57079632679f - r : r;
  return x < 0 ? -r : r;
}
__MSL_INL float __msl_atan2(float y, float x) { float r = __msl_ptx_atan(y / x); return x > 0 ? r : x < 0 ? (y < 0 ? r - 3.14159265359f : r + 3.14159265359f) : y > 0 ? 1.57079632679f : y < 0 ? -1.57079632679f : 0.0f; }
__MSL_INL float __msl_ptx_asin(float x) { return __msl_atan2(x, __nvvm_sqrt_rn_f(1 - x * x)); }
__MSL_INL float __msl_ptx_acos(float x) { return __msl_atan2(__nvvm_sqrt_rn_f(1 - x * x), x); }
__MSL_INL float __msl_ptx_sinh(float x) { float e = __msl_ptx_exp(x); return 0.5f * (e - 1 / e); }
__MSL_INL float __msl_ptx_cosh(float x) { float e = __msl_ptx_exp(x); return 0.5f * (e + 1 / e); }
__MSL_INL float __msl_ptx_sqrt(float x) { return __nvvm_sqrt_rn_f(x); }
__MSL_INL float __msl_ptx_rsqrt(float x) { return __nvvm_rsqrt_approx_f(x); }
__MSL_INL float __msl_pow(float a, float b) { return __nvvm_ex2_approx_ftz_f(b * __nvvm_lg2_approx_f(a)); }
__MSL_INL float __msl_fmod(float a, float b) { return a - b * __builtin_truncf(a / b); }
__MSL_INL float __msl_fma(float a, float b, float c) { return __nvvm_fma_rn_f(a, b, c); }
__MSL_INL float __msl_rint(float a) { return __nvvm_round_f(a); }
#else
#ifdef MSL_FUZZ_ULPS
__MSL_INL float __msl_fuzz(float x) {
  uint b = __builtin_bit_cast(uint, x), h = (b * 2654435761u) >> 16;
  int d = int(h % (2u * MSL_FUZZ_ULPS + 1u)) - MSL_FUZZ_ULPS;
  return (b & 0x7f800000u) == 0x7f800000u || (b & 0x7fffffffu) <= 0x00800000u ? x : __builtin_bit_cast(float, uint(int(b) + d));
}
#else
#define __msl_fuzz(x) (x)
#endif
#define __MSL_MATH(name, x) __msl_fuzz(__builtin_##name##f(x))
#if !__has_builtin(__builtin_exp10f)
#define __builtin_exp10f(x) __builtin_exp2f(3.32192809488736234787f * (x))
#endif
#define __builtin_rsqrtf(x) (1.0f / __builtin_sqrtf(x))
__MSL_INL float __msl_pow(float a, float b) { return __msl_fuzz(__builtin_powf(a, b)); }
__MSL_INL float __msl_fmod(float a, float b) { return __builtin_fmodf(a, b); }
__MSL_INL float __msl_atan2(float y, float x) { return __msl_fuzz(__builtin_atan2f(y, x)); }
__MSL_INL float __msl_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
__MSL_INL float __msl_rint(float a) { return __builtin_rintf(a); }
#endif

#define __MSL_V1(name, T, N) __MSL_INL vec<T, N> name(vec<T, N> a) { vec<T, N> r; for (int i = 0; i < N; i++) r[i] = name(a[i]); return r; }
#define __MSL_V2(name, T, N) __MSL_INL vec<T, N> name(vec<T, N> a, vec<T, N> b) { vec<T, N> r; for (int i = 0; i < N; i++) r[i] = name(a[i], b[i]); return r; }
#define __MSL_V3(name, T, N) __MSL_INL vec<T, N> name(vec<T, N> a, vec<T, N> b, vec<T, N> c) { vec<T, N> r; for (int i = 0; i < N; i++) r[i] = name(a[i], b[i], c[i]); return r; }
#define __MSL_VN(M, name, T) M(name, T, 2) M(name, T, 3) M(name, T, 4)
#define __MSL_F1(name, e) \
  __MSL_INL float name(float x) { return e; } \
  __MSL_INL half name(half h) { float x = h; return half(e); } \
  __MSL_VN(__MSL_V1, name, float) __MSL_VN(__MSL_V1, name, half)
#define __MSL_F2(name, e) \
  __MSL_INL float name(float x, float y) { return e; } \
  __MSL_INL half name(half h, half k) { float x = h, y = k; return half(e); } \
  __MSL_VN(__MSL_V2, name, float) __MSL_VN(__MSL_V2, name, half)
#define __MSL_F3(name, e) \
  __MSL_INL float name(float x, float y, float z) { return e; } \
  __MSL_INL half name(half h, half k, half l) { float x = h, y = k, z = l; return half(e); } \
  __MSL_VN(__MSL_V3, name, float) __MSL_VN(__MSL_V3, name, half)

__MSL_F1(exp, __MSL_MATH(exp, x)) __MSL_F1(exp2, __MSL_MATH(exp2, x)) __MSL_F1(exp10, __MSL_MATH(exp10, x))
__MSL_F1(log, __MSL_MATH(log, x)) __MSL_F1(log2, __MSL_MATH(log2, x)) __MSL_F1(log10, __MSL_MATH(log10, x))
__MSL_F1(sin, __MSL_MATH(sin, x)) __MSL_F1(cos, __MSL_MATH(cos, x)) __MSL_F1(tan, __MSL_MATH(tan, x)) __MSL_F1(tanh, __MSL_MATH(tanh, x))
__MSL_F1(sqrt, __MSL_MATH(sqrt, x)) __MSL_F1(rsqrt, __MSL_MATH(rsqrt, x))
__MSL_F1(floor, __builtin_floorf(x)) __MSL_F1(ceil, __builtin_ceilf(x)) __MSL_F1(trunc, __builtin_truncf(x)) __MSL_F1(rint, __msl_rint(x))
__MSL_F1(round, (x < 0 ? __builtin_ceilf(x - 0.5f) : __builtin_floorf(x + 0.5f)))
__MSL_F1(fabs, __builtin_fabsf(x))
__MSL_F1(fract, (x - __builtin_floorf(x)))
__MSL_F1(sign, (x > 0 ? 1.0f : x < 0 ? -1.0f : x == 0 ? x : 0.0f))
__MSL_F1(saturate, (x < 0 ? 0.0f : x > 1 ? 1.0f : x))
__MSL_F1(asin, __MSL_MATH(asin, x)) __MSL_F1(acos, __MSL_MATH(acos, x)) __MSL_F1(atan, __MSL_MATH(atan, x))
__MSL_F1(sinh, __MSL_MATH(sinh, x)) __MSL_F1(cosh, __MSL_MATH(cosh, x))
__MSL_F2(atan2, __msl_atan2(x, y))
__MSL_F2(pow, __msl_pow(x, y)) __MSL_F2(powr, __msl_pow(x, y)) __MSL_F2(fmod, __msl_fmod(x, y))
__MSL_F2(fmin, __builtin_fminf(x, y)) __MSL_F2(fmax, __builtin_fmaxf(x, y))
__MSL_F2(min, __builtin_fminf(x, y)) __MSL_F2(max, __builtin_fmaxf(x, y))
__MSL_F2(step, (y < x ? 0.0f : 1.0f))
__MSL_F2(copysign, __builtin_copysignf(x, y))
__MSL_F3(mix, (x + (y - x) * z)) __MSL_F3(clamp, __builtin_fminf(__builtin_fmaxf(x, y), z))
__MSL_INL float fma(float a, float b, float c) { return __msl_fma(a, b, c); }
__MSL_INL half fma(half a, half b, half c) { return half(float(a) * float(b) + float(c)); }
__MSL_VN(__MSL_V3, fma, float) __MSL_VN(__MSL_V3, fma, half)
__MSL_INL float abs(float x) { return __builtin_fabsf(x); }
__MSL_INL half abs(half x) { return half(__builtin_fabsf(float(x))); }
__MSL_VN(__MSL_V1, abs, float) __MSL_VN(__MSL_V1, abs, half)

#define __MSL_X(T) \
  __MSL_INL T min(T a, T b) { return b < a ? b : a; } __MSL_INL T max(T a, T b) { return a < b ? b : a; } \
  __MSL_INL T clamp(T x, T lo, T hi) { return min(max(x, lo), hi); } \
  __MSL_VN(__MSL_V2, min, T) __MSL_VN(__MSL_V2, max, T) __MSL_VN(__MSL_V3, clamp, T) \
  __MSL_INL T popcount(T x) { int n = 0; for (ulong v = ulong(x) & (~0ul >> (64 - 8 * sizeof(T))); v; v &= v - 1) n++; return T(n); } \
  __MSL_INL T clz(T x) { int n = 0; for (int i = 8 * sizeof(T) - 1; i >= 0 && !((ulong(x) >> i) & 1); i--) n++; return T(n); } \
  __MSL_INL T ctz(T x) { int n = 0; for (int i = 0; i < int(8 * sizeof(T)) && !((ulong(x) >> i) & 1); i++) n++; return T(n); }
__MSL_INTS(__MSL_X)
#undef __MSL_X
#define __MSL_X(T) __MSL_INL T abs(T x) { return x < 0 ? T(-x) : x; }
__MSL_X(char) __MSL_X(short) __MSL_X(int) __MSL_X(long)
#undef __MSL_X
__MSL_INL int mulhi(int a, int b) { return int((long(a) * long(b)) >> 32); }
__MSL_INL uint mulhi(uint a, uint b) { return uint((ulong(a) * ulong(b)) >> 32); }
__MSL_INL int mad24(int a, int b, int c) { return a * b + c; }
__MSL_INL int mul24(int a, int b) { return a * b; }
__MSL_INL uint rotate(uint a, uint b) { b &= 31; return b ? (a << b) | (a >> (32 - b)) : a; }
__MSL_INL uint reverse_bits(uint a) { return __builtin_bitreverse32(a); }
__MSL_INL uint extract_bits(uint v, uint off, uint bits) { return bits ? (v >> off) & (~0u >> (32 - bits)) : 0; }

#define __MSL_CLS(T, U, EXP, MAN) \
  __MSL_INL bool isnan(T x) { U b = __builtin_bit_cast(U, x); return (b & EXP) == EXP && (b & MAN) != 0; } \
  __MSL_INL bool isinf(T x) { U b = __builtin_bit_cast(U, x); return (b & EXP) == EXP && (b & MAN) == 0; } \
  __MSL_INL bool isfinite(T x) { U b = __builtin_bit_cast(U, x); return (b & EXP) != EXP; } \
  __MSL_INL bool signbit(T x) { U b = __builtin_bit_cast(U, x); return (b >> (8 * sizeof(U) - 1)) != 0; }
__MSL_CLS(float, uint, 0x7f800000u, 0x007fffffu)
__MSL_CLS(half, ushort, 0x7c00, 0x03ff)
__MSL_CLS(bfloat, ushort, 0x7f80, 0x007f)

#define __MSL_G(N, T) \
  __MSL_INL T dot(vec<T, N> a, vec<T, N> b) { T s = a[0] * b[0]; for (int i = 1; i < N; i++) s += a[i] * b[i]; return s; } \
  __MSL_INL T length_squared(vec<T, N> a) { return dot(a, a); } \
  __MSL_INL T length(vec<T, N> a) { return sqrt(dot(a, a)); } \
  __MSL_INL T distance(vec<T, N> a, vec<T, N> b) { return length(a - b); } \
  __MSL_INL vec<T, N> normalize(vec<T, N> a) { return a * rsqrt(dot(a, a)); } \
  __MSL_INL vec<T, N> mix(vec<T, N> a, vec<T, N> b, T c) { return a + (b - a) * c; }
__MSL_G(2, float) __MSL_G(3, float) __MSL_G(4, float) __MSL_G(2, half) __MSL_G(3, half) __MSL_G(4, half)
__MSL_INL float3 cross(float3 a, float3 b) { return a.yzx * b.zxy - a.zxy * b.yzx; }
#define __MSL_B(T, N) \
  __MSL_INL bool any(vec<T, N> a) { bool r = false; for (int i = 0; i < N; i++) r = r || a[i] != 0; return r; } \
  __MSL_INL bool all(vec<T, N> a) { bool r = true; for (int i = 0; i < N; i++) r = r && a[i] != 0; return r; }
__MSL_B(int, 2) __MSL_B(int, 3) __MSL_B(int, 4) __MSL_B(short, 2) __MSL_B(short, 3) __MSL_B(short, 4)
#define __MSL_S(T, C) \
  __MSL_INL T select(T a, T b, bool c) { return c ? b : a; } \
  template <int N> __MSL_INL vec<T, N> select(vec<T, N> a, vec<T, N> b, vec<C, N> c) { vec<T, N> r; for (int i = 0; i < N; i++) r[i] = c[i] ? b[i] : a[i]; return r; }
__MSL_S(float, int) __MSL_S(half, short) __MSL_S(int, int) __MSL_S(uint, int) __MSL_S(short, short) __MSL_S(ushort, short) __MSL_S(bfloat, short)

