// SPDX-License-Identifier: MIT
//
// msl_matrix.h -- simdgroup_matrix; part of metal_stdlib, inside its namespace
// metal.
#pragma clang system_header

// Two elements per lane, in the layout of Apple's GPUs: lane -> (row, col), (row, col+1).
__MSL_INL uint __sm_row(uint l) { return ((l >> 2) & 4) + ((l >> 1) & 3); }
__MSL_INL uint __sm_col(uint l) { return ((l >> 2) & 2) * 2 + (l & 1) * 2; }
__MSL_INL uint __sm_lane(uint r, uint c) { return ((r & 4) << 2) | ((c & 4) << 1) | ((r & 3) << 1) | ((c >> 1) & 1); }
template <class T, int R, int C> struct simdgroup_matrix {
  static_assert(R == 8 && C == 8, "simdgroup_matrix is 8x8");
  static_assert(is_floating_point<T>::value, "simdgroup_matrix is of half, bfloat or float");
  vec<T, 2> __e;
  simdgroup_matrix() = default;
  __MSL_INL explicit simdgroup_matrix(T d) { uint l = __msl_lane(), r = __sm_row(l), c = __sm_col(l); __e[0] = r == c ? d : T(0); __e[1] = r == c + 1 ? d : T(0); }
  __MSL_INL thread vec<T, 2>& thread_elements() thread { return __e; }
  __MSL_INL vec<T, 2> thread_elements() const thread { return __e; }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;
template <class T, int R, int C = R> __MSL_INL simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T v) { simdgroup_matrix<T, R, C> m; m.__e[0] = v; m.__e[1] = v; return m; }
#define __MSL_SM(AS) \
  template <class T> __MSL_INL void simdgroup_load(thread simdgroup_matrix<T, 8, 8>& d, const AS T* p, ulong stride = 8, ulong2 o = (ulong2)(0ul), bool tr = false, __MSL_SITE) { \
    __msl_sm_sync(__site); uint l = __msl_lane(), r = __sm_row(l), c = __sm_col(l); \
    for (uint i = 0; i < 2; i++) d.__e[i] = tr ? p[(o.y + c + i) * stride + o.x + r] : p[(o.y + r) * stride + o.x + c + i]; } \
  template <class T> __MSL_INL void simdgroup_store(simdgroup_matrix<T, 8, 8> d, AS T* p, ulong stride = 8, ulong2 o = (ulong2)(0ul), bool tr = false, __MSL_SITE) { \
    __msl_sm_sync(__site); uint l = __msl_lane(), r = __sm_row(l), c = __sm_col(l); \
    for (uint i = 0; i < 2; i++) { if (tr) p[(o.y + c + i) * stride + o.x + r] = d.__e[i]; else p[(o.y + r) * stride + o.x + c + i] = d.__e[i]; } }
#ifndef __NVPTX__
__MSL_INL void __msl_sm_sync(int site) { __msl_simd_sync(0, 0, __SK_MMA, site); }
template <class D, class A, class B, class C> __MSL_RAW void __msl_mma(thread simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a, simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<C, 8, 8> c, int site) {
  struct P { vec<A, 2> a; vec<B, 2> b; } p; p.a = a.__e; p.b = b.__e;
  ulong s = __msl_simd_sync((ulong)&p, sizeof p, __SK_MMA, site);
  uint l = __msl_lane(), row = __sm_row(l), col = __sm_col(l); float x0 = float(c.__e[0]), x1 = float(c.__e[1]);
  for (uint k = 0; k < 8; k++) {
    __private const P* pa = (__private const P*)(s + 64 * __sm_lane(row, k)); __private const P* pb = (__private const P*)(s + 64 * __sm_lane(k, col));
    float av = float(pa->a[k & 1]); x0 += av * float(pb->b[0]); x1 += av * float(pb->b[1]);
  }
  d.__e[0] = D(x0); d.__e[1] = D(x1);
}
#else
template <class D, class A, class B, class C> __MSL_INL void __msl_mma(thread simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a, simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<C, 8, 8> c, int) {
  uint l = __msl_lane(), row = __sm_row(l), col = __sm_col(l); float x0 = float(c.__e[0]), x1 = float(c.__e[1]);
  for (uint k = 0; k < 8; k++) {
    float av = float(__msl_shfl(a.__e[k & 1], __sm_lane(row, k)));
    x0 += av * float(__msl_shfl(b.__e[0], __sm_lane(k, col))); x1 += av * float(__msl_shfl(b.__e[1], __sm_lane(k, col)));
  }
  d.__e[0] = D(x0); d.__e[1] = D(x1);
}
#endif
__MSL_SM(__global) __MSL_SM(__local)
template <class D, class A, class B, class C> __MSL_INL void simdgroup_multiply_accumulate(thread simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a, simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<C, 8, 8> c, __MSL_SITE) { __msl_mma(d, a, b, c, __site); }
template <class D, class A, class B> __MSL_INL void simdgroup_multiply(thread simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a, simdgroup_matrix<B, 8, 8> b, __MSL_SITE) { __msl_mma(d, a, b, make_filled_simdgroup_matrix<D, 8, 8>(D(0)), __site); }
