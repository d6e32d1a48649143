// SPDX-License-Identifier: MIT
//
// msl_atomic.h -- atomic types and functions; part of metal_stdlib, inside its
// namespace metal.
#pragma clang system_header

enum memory_order { memory_order_relaxed = 0 };
template <class T> struct __matomic {
  static_assert(is_same<T, int>::value || is_same<T, uint>::value || is_same<T, bool>::value || is_same<T, ulong>::value || is_same<T, float>::value,
                "atomic is of int, uint, bool, ulong or float");
  T __s;
  __matomic() = default;
  __matomic(const __generic __matomic&) = delete;
  void operator=(const __generic __matomic&) __generic = delete;
};
template <class T> using atomic = __matomic<T>;
enum { __AT_LOAD, __AT_STORE, __AT_XCHG, __AT_ADD, __AT_SUB, __AT_MIN, __AT_MAX, __AT_AND, __AT_OR, __AT_XOR, __AT_I = 0, __AT_U = 16, __AT_F = 32 };
#ifdef __NVPTX__
#define __msl_addr(p) ((ulong)(const volatile __generic void*)(p))
#else
#define __msl_addr(p) ((ulong)(p))
#endif
#define __MSL_AT(AS, T, k) \
  __MSL_INL T atomic_load_explicit(const volatile AS __matomic<T>* p, memory_order, __MSL_SITE) { return as_type<T>(__msl_atomic32(__msl_addr(p), __AT_LOAD + k, 0, __site)); } \
  __MSL_INL void atomic_store_explicit(volatile AS __matomic<T>* p, T v, memory_order, __MSL_SITE) { __msl_atomic32(__msl_addr(p), __AT_STORE + k, as_type<uint>(v), __site); } \
  __MSL_INL T atomic_exchange_explicit(volatile AS __matomic<T>* p, T v, memory_order, __MSL_SITE) { return as_type<T>(__msl_atomic32(__msl_addr(p), __AT_XCHG + k, as_type<uint>(v), __site)); } \
  __MSL_INL T atomic_fetch_add_explicit(volatile AS __matomic<T>* p, T v, memory_order, __MSL_SITE) { return as_type<T>(__msl_atomic32(__msl_addr(p), __AT_ADD + k, as_type<uint>(v), __site)); } \
  __MSL_INL T atomic_fetch_sub_explicit(volatile AS __matomic<T>* p, T v, memory_order, __MSL_SITE) { return as_type<T>(__msl_atomic32(__msl_addr(p), __AT_SUB + k, as_type<uint>(v), __site)); } \
  __MSL_INL bool atomic_compare_exchange_weak_explicit(volatile AS __matomic<T>* p, thread T* e, T v, memory_order, memory_order, __MSL_SITE) { \
    uint w = as_type<uint>(*e), o = __msl_atomic_cas32(__msl_addr(p), w, as_type<uint>(v), __site); *e = as_type<T>(o); return o == w; }
#define __MSL_AI(AS, T, k, name, OP) __MSL_INL T atomic_fetch_##name##_explicit(volatile AS __matomic<T>* p, T v, memory_order, __MSL_SITE) { return as_type<T>(__msl_atomic32(__msl_addr(p), OP + k, as_type<uint>(v), __site)); }
#define __MSL_AIS(AS, T, k) __MSL_AT(AS, T, k) __MSL_AI(AS, T, k, min, __AT_MIN) __MSL_AI(AS, T, k, max, __AT_MAX) __MSL_AI(AS, T, k, and, __AT_AND) __MSL_AI(AS, T, k, or, __AT_OR) __MSL_AI(AS, T, k, xor, __AT_XOR)
__MSL_AIS(__global, int, __AT_I) __MSL_AIS(__local, int, __AT_I) __MSL_AIS(__global, uint, __AT_U) __MSL_AIS(__local, uint, __AT_U)
// the other two types have only loads and stores, which no checker sees
#define __MSL_AB(AS) \
  __MSL_RAW bool atomic_load_explicit(const volatile AS __matomic<bool>* p, memory_order) { return p->__s; } \
  __MSL_RAW void atomic_store_explicit(volatile AS __matomic<bool>* p, bool v, memory_order) { p->__s = v; }
__MSL_AB(__global) __MSL_AB(__local)
__MSL_AT(__global, float, __AT_F) // atomic_float: device memory only, as in MSL
__MSL_INL void atomic_thread_fence(mem_flags, memory_order) {}
