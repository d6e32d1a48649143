// SPDX-License-Identifier: MIT
//
// msl_library.h -- functions of Metal's library that this project's shaders do not use
// (specification 3.1, chapter 6), so that other kernels compile; part of metal_stdlib,
// inside its namespace metal, after msl_math.h.
#pragma clang system_header

// --------------------------------------------------------------- common, math
__MSL_INL float __msl_smooth(float t) { t = saturate(t); return t * t * (3.0f - 2.0f * t); }
__MSL_F3(smoothstep, __msl_smooth((z - x) / (y - x)))
__MSL_F2(fdim, (x > y ? x - y : 0.0f))
__MSL_F1(asinh, log(x + sqrt(x * x + 1.0f))) __MSL_F1(acosh, log(x + sqrt(x * x - 1.0f))) __MSL_F1(atanh, (0.5f * log((1.0f + x) / (1.0f - x))))
__MSL_F1(sinpi, sin(M_PI_F * x)) __MSL_F1(cospi, cos(M_PI_F * x)) __MSL_F1(tanpi, tan(M_PI_F * x))
__MSL_F3(fmin3, fmin(x, fmin(y, z))) __MSL_F3(fmax3, fmax(x, fmax(y, z))) __MSL_F3(fmedian3, fmax(fmin(x, y), fmin(fmax(x, y), z)))
__MSL_F3(min3, fmin(x, fmin(y, z))) __MSL_F3(max3, fmax(x, fmax(y, z))) __MSL_F3(median3, fmax(fmin(x, y), fmin(fmax(x, y), z)))
// a value split into two parts; the second is returned by reference
#define __MSL_SPLIT(T) \
  __MSL_INL T sincos(T x, thread T& c) { c = cos(x); return sin(x); } \
  __MSL_INL T modf(T x, thread T& whole) { whole = trunc(x); return x - whole; } \
  __MSL_INL T ldexp(T x, int n) { return x * exp2(T(n)); } \
  __MSL_INL T frexp(T x, thread int& e) { e = x == T(0) ? 0 : int(floor(log2(fabs(x)))) + 1; return x * exp2(T(-e)); } \
  __MSL_INL int ilogb(T x) { return int(floor(log2(fabs(x)))); } \
  __MSL_INL bool isnormal(T x) { return isfinite(x) && fabs(x) >= numeric_limits<T>::min(); } \
  __MSL_INL bool isordered(T x, T y) { return !isnan(x) && !isnan(y); } \
  __MSL_INL bool isunordered(T x, T y) { return isnan(x) || isnan(y); }
__MSL_SPLIT(float) __MSL_SPLIT(half)

// ----------------------------------------------------------------- relational
#define __MSL_R(name, T, N) __MSL_INL bool##N name(vec<T, N> a) { bool##N r; for (int i = 0; i < N; i++) r[i] = name(a[i]) ? -1 : 0; return r; }
#define __MSL_RN(name) __MSL_VN(__MSL_R, name, float) __MSL_VN(__MSL_R, name, half)
__MSL_RN(isnan) __MSL_RN(isinf) __MSL_RN(isfinite) __MSL_RN(isnormal) __MSL_RN(signbit)

// -------------------------------------------------------------------- integer
#define __MSL_X(T) \
  __MSL_INL T absdiff(T a, T b) { return a < b ? T(b - a) : T(a - b); } \
  __MSL_INL T hadd(T a, T b) { return T((a >> 1) + (b >> 1) + (a & b & 1)); } \
  __MSL_INL T rhadd(T a, T b) { return T((a >> 1) + (b >> 1) + ((a | b) & 1)); } \
  __MSL_INL T addsat(T a, T b) { T r; return __builtin_add_overflow(a, b, &r) ? (b < 0 ? numeric_limits<T>::min() : numeric_limits<T>::max()) : r; } \
  __MSL_INL T subsat(T a, T b) { T r; return __builtin_sub_overflow(a, b, &r) ? (b > 0 ? numeric_limits<T>::min() : numeric_limits<T>::max()) : r; } \
  __MSL_INL T min3(T a, T b, T c) { return min(a, min(b, c)); } __MSL_INL T max3(T a, T b, T c) { return max(a, max(b, c)); } \
  __MSL_INL T median3(T a, T b, T c) { return max(min(a, b), min(max(a, b), c)); }
__MSL_INTS(__MSL_X)
#undef __MSL_X
__MSL_INL int madhi(int a, int b, int c) { return mulhi(a, b) + c; }
__MSL_INL uint madhi(uint a, uint b, uint c) { return mulhi(a, b) + c; }
__MSL_INL int madsat(int a, int b, int c) { long r = long(a) * b + c; return r > 0x7fffffffl ? 0x7fffffff : r < -0x80000000l ? int(-0x80000000l) : int(r); }
__MSL_INL uint mad24(uint a, uint b, uint c) { return a * b + c; }
__MSL_INL uint mul24(uint a, uint b) { return a * b; }
__MSL_INL int rotate(int a, int b) { return int(rotate(uint(a), uint(b))); }
__MSL_INL uint insert_bits(uint base, uint v, uint off, uint bits) { uint m = bits ? (~0u >> (32 - bits)) << off : 0; return (base & ~m) | (v << off & m); }

// ------------------------------------------------------------------ geometric
#define __MSL_X(T, N) \
  __MSL_INL T distance_squared(vec<T, N> a, vec<T, N> b) { return length_squared(a - b); } \
  __MSL_INL vec<T, N> reflect(vec<T, N> i, vec<T, N> n) { return i - n * (T(2) * dot(n, i)); } \
  __MSL_INL vec<T, N> faceforward(vec<T, N> n, vec<T, N> i, vec<T, N> r) { return dot(r, i) < T(0) ? n : -n; } \
  __MSL_INL vec<T, N> refract(vec<T, N> i, vec<T, N> n, T eta) { T d = dot(n, i), k = T(1) - eta * eta * (T(1) - d * d); \
    return k < T(0) ? vec<T, N>(T(0)) : i * eta - n * (eta * d + sqrt(k)); }
__MSL_X(float, 2) __MSL_X(float, 3) __MSL_X(float, 4) __MSL_X(half, 2) __MSL_X(half, 3) __MSL_X(half, 4)
#undef __MSL_X
__MSL_INL half3 cross(half3 a, half3 b) { return a.yzx * b.zxy - a.zxy * b.yzx; }

// ------------------------------------------------------------- metal_array
template <class T, size_t N> struct array {
  T __v[N];
  constexpr size_t size() const { return N; }
  __MSL_INL thread T& operator[](size_t n) thread { return __v[n]; }
  __MSL_INL T operator[](size_t n) const { return __v[n]; }
};

// ------------------------------------------------------------------- matrices
// C columns with R rows.
template <class T, int C, int R> struct __mat {
  vec<T, R> __c[C];
  __mat() = default;
  __MSL_INL explicit __mat(T d) { for (int c = 0; c < C; c++) for (int r = 0; r < R; r++) __c[c][r] = r == c ? d : T(0); }
  template <class... A> __MSL_INL explicit __mat(vec<T, R> a, A... more) : __c{a, more...} { static_assert(sizeof...(A) == C - 1, "matrix constructor: wrong number of columns"); }
  __MSL_INL thread vec<T, R>& operator[](int c) thread { return __c[c]; }
  __MSL_INL vec<T, R> operator[](int c) const { return __c[c]; }
  __MSL_INL vec<T, R> operator*(vec<T, C> v) const { vec<T, R> s = __c[0] * v[0]; for (int c = 1; c < C; c++) s += __c[c] * v[c]; return s; }
  template <int D> __MSL_INL __mat<T, D, R> operator*(__mat<T, D, C> o) const { __mat<T, D, R> m; for (int d = 0; d < D; d++) m.__c[d] = *this * o.__c[d]; return m; }
  __MSL_INL __mat operator*(T s) const { __mat m; for (int c = 0; c < C; c++) m.__c[c] = __c[c] * s; return m; }
  __MSL_INL __mat operator+(__mat o) const { for (int c = 0; c < C; c++) o.__c[c] += __c[c]; return o; }
  __MSL_INL __mat operator-(__mat o) const { for (int c = 0; c < C; c++) o.__c[c] = __c[c] - o.__c[c]; return o; }
};
template <class T, int C, int R> __MSL_INL vec<T, C> operator*(vec<T, R> v, __mat<T, C, R> m) { vec<T, C> r; for (int c = 0; c < C; c++) r[c] = dot(v, m.__c[c]); return r; }
template <class T, int C, int R> __MSL_INL __mat<T, R, C> transpose(__mat<T, C, R> m) { __mat<T, R, C> t; for (int c = 0; c < C; c++) for (int r = 0; r < R; r++) t.__c[r][c] = m.__c[c][r]; return t; }
template <class T> __MSL_INL T determinant(__mat<T, 2, 2> m) { return m.__c[0].x * m.__c[1].y - m.__c[1].x * m.__c[0].y; }
template <class T> __MSL_INL T determinant(__mat<T, 3, 3> m) { return dot(m.__c[0], cross(m.__c[1], m.__c[2])); }
#define __MSL_X(T, C, R) typedef __mat<T, C, R> T##C##x##R;
#define __MSL_ROWS(T, C) __MSL_X(T, C, 2) __MSL_X(T, C, 3) __MSL_X(T, C, 4)
__MSL_ROWS(float, 2) __MSL_ROWS(float, 3) __MSL_ROWS(float, 4) __MSL_ROWS(half, 2) __MSL_ROWS(half, 3) __MSL_ROWS(half, 4)
#undef __MSL_X

#define __MSL_NS using metal::exp; using metal::exp2; using metal::exp10; using metal::log; using metal::log2; using metal::log10; \
  using metal::sin; using metal::cos; using metal::tan; using metal::tanh; using metal::sqrt; using metal::rsqrt; using metal::pow; using metal::powr; \
  using metal::fmin; using metal::fmax; using metal::min; using metal::max; using metal::clamp; using metal::fma; using metal::fabs; using metal::floor; \
  using metal::ceil; using metal::round; using metal::rint; using metal::trunc; using metal::fract; using metal::fmod; using metal::abs; using metal::fmin3; using metal::fmax3; using metal::asin; using metal::acos; using metal::atan; using metal::atan2; \
  using metal::sincos; using metal::sign; using metal::saturate; using metal::mix; using metal::step; using metal::smoothstep; using metal::normalize; using metal::length; \
  __MSL_INL float divide(float a, float b) { return a / b; }
namespace fast { __MSL_NS }
namespace precise { __MSL_NS }
