// SPDX-License-Identifier: MIT
//
// check.cpp -- called by a checked kernel's loads, stores and atomics: checks bounds,
// alignment, uninitialized memory and data races; and undefined behavior.
#include <cstdio>
#include <cstring>
#include "worker.h"

using namespace msl;

static const char* kindname[] = {"read", "write", "update"};
static __attribute__((noinline)) void oob(u8* p, u32 size, int k, u32 pc) {
  Worker* w = W;
  for (u32 i = 0; i < w->f.size(); i++)
    if (u64(p - w->f[i].stack) < STACK && &w->f[i] != w->cur) FAIL("%s of %u bytes in another thread's private memory at @{%x}", kindname[k], size, pc);
  Region* best = nullptr; u64 d = ~0ull;
  for (auto& r : w->S->regions) {
    u64 e = p < r.lo ? u64(r.lo - p) : u64(p - r.lo) >= r.len ? u64(p - r.lo) - r.len : 0;
    if (e < d) d = e, best = &r;
  }
  if (best && d < (1ull << 30)) FAIL("out of bounds: %s of %u bytes at offset %lld of the %llu-byte buffer(%u), at @{%x}", kindname[k], size, (long long)(p - best->lo), (unsigned long long)best->len, best->index, pc);
  FAIL("out of bounds: %s of %u bytes at wild address %p, at @{%x}", kindname[k], size, (void*)p, pc);
}

static inline bool unordered(u32 ser, u16 tid, u16 ep, u16 sgep, u32 cser, Fiber* f, u16 cep, u16 csg) {
  if (ser != cser) return true;
  if (tid == f->tid) return false;
  if (ep != cep) return false;
  return !(tid / 32 == f->tid / 32 && sgep != csg);
}

static void touch(Cell* c, bool dev, int k, bool atomic, u32 pc, const char* what, u32 index, u64 byteoff) {
  Worker* w = W; Fiber* f = w->cur;
  u16 ep = dev ? f->ep_dev : f->ep_tg, sg = dev ? f->sg_dev : f->sg_tg;
  const char* need = dev ? "mem_device" : "mem_threadgroup";
  bool cross;
  if (c->wser && (dev || c->wser == w->ser) && !(atomic && c->watomic) && unordered(c->wser, c->wtid, c->wep, c->wsg, w->ser, f, ep, sg)) {
    cross = c->wser != w->ser;
    FAIL("data race on %s %u at byte %llu: %s at @{%x}, written by thread %u%s at @{%x}%s%s", what, index, (unsigned long long)byteoff, kindname[k], pc, c->wtid, cross ? " of another threadgroup" : "", c->wpc, cross ? "" : " with no barrier between that has ", cross ? "" : need);
  }
  if (k != 0 && c->rser && (dev || c->rser == w->ser) && !(atomic && c->ratomic) && (c->rmulti ? c->rser != w->ser || (c->rep == ep && !(c->rtid / 32 == f->tid / 32 && c->rsg != sg && c->rmulti == 1)) : unordered(c->rser, c->rtid, c->rep, c->rsg, w->ser, f, ep, sg))) {
    cross = c->rser != w->ser;
    FAIL("data race on %s %u at byte %llu: %s at @{%x}, read by thread %u%s at @{%x}%s%s", what, index, (unsigned long long)byteoff, kindname[k], pc, c->rtid, cross ? " of another threadgroup" : "", c->rpc, cross ? "" : " with no barrier between that has ", cross ? "" : need);
  }
  if (k != 1) {
    if (c->rser == w->ser && c->rep == ep && c->rtid != f->tid) { u8 m = c->rtid / 32 == f->tid / 32 && c->rmulti < 2 && c->rsg == sg ? 1 : 2; if (m > c->rmulti) c->rmulti = m; }
    else c->rmulti = 0;
    c->rser = w->ser; c->rtid = f->tid; c->rep = ep; c->rsg = sg; c->ratomic = atomic; c->rpc = pc;
  }
  if (k != 0) { c->wser = w->ser; c->wtid = f->tid; c->wep = ep; c->wsg = sg; c->watomic = atomic; c->wpc = pc; }
}

static inline void access(void* q, u32 size, int k, bool atomic, void* ra, bool natural) {
  Worker* w = W;
  if (!w || !w->check) return;
  u8* p = (u8*)q;
  Fiber* f = w->cur;
  if (u64(p - f->stack) < STACK) return;
  w->st.accesses++;
  u32 pc = off(ra);
  if (natural && (u64(p) & (size - 1))) FAIL("misaligned: %s of %u bytes at address ...%03x, at @{%x}", kindname[k], size, u32(u64(p) & 0xfff), pc);
  u64 ao = u64(p - w->arena);
  if (ao < ARENA) {
    if (k != 1) w->st.threadgroup_read += size;
    if (k != 0) w->st.threadgroup_written += size;
    u8 o = w->owner[ao / 16];
    Var* v = o ? &w->vars[o - 1] : nullptr;
    if (!v || ao < v->off || ao + size > v->off + v->size) {
      if (!v && ao >= 16) { o = w->owner[(ao - 16) / 16]; for (u64 b = ao; !o && b >= 16; b -= 16) o = w->owner[(b - 16) / 16]; v = o ? &w->vars[o - 1] : nullptr; }
      if (v) FAIL("out of bounds: %s of %u bytes at offset %lld of the %u-byte threadgroup variable of line %d, at @{%x}", kindname[k], size, (long long)(ao - v->off), v->size, v->line, pc);
      FAIL("out of bounds: %s of %u bytes in threadgroup memory, at @{%x}", kindname[k], size, pc);
    }
    for (u32 b = 0; b < size; b += v->granule) {
      Cell* c = &w->acells[ao + b];
      if (k != 1 && c->wser != w->ser) FAIL("uninitialized: %s of threadgroup memory nothing has written (variable of line %d, byte %llu), at @{%x}", kindname[k], v->line, (unsigned long long)(ao + b - v->off), pc);
      touch(c, false, k, atomic, pc, "threadgroup variable of line", v->line, ao + b - v->off);
    }
    return;
  }
  Region* r = w->last;
  if (!r || u64(p - r->lo) >= r->len) {
    r = nullptr;
    for (auto& x : w->S->regions) if (u64(p - x.lo) < x.len) { r = &x; break; }
    if (!r) {
      if ((char*)p >= __ehdr_start && (char*)p < _end) return;
      for (auto* s : w->sg) if (u64(p - (u8*)s->slots) < sizeof s->slots) return;
      oob(p, size, k, pc);
    }
    w->last = r;
  }
  u64 o = u64(p - r->lo);
  if (o + size > r->len) oob(p, size, k, pc);
  if (k != 1) (r->flags & MSL_CONSTANT ? w->st.constant_read : w->st.device_read) += size;
  if (k != 0) w->st.device_written += size;
  if (r->cells)
    for (u32 b = 0; b < size; b += r->granule) {
      Cell* c = &r->cells[(o + b) / r->granule];
      if (k != 1 && (r->flags & 1) && !c->wser) FAIL("uninitialized: %s of buffer(%u) at byte %llu, which nothing has written, at @{%x}", kindname[k], r->index, (unsigned long long)(o + b), pc);
      touch(c, true, k, atomic, pc, "buffer", r->index, o + b);
    }
}
#define RA __builtin_return_address(0)
#define HOOK(n) \
  HID void __tsan_read##n(void* p) { access(p, n, 0, false, RA, true); } \
  HID void __tsan_write##n(void* p) { access(p, n, 1, false, RA, true); } \
  HID void __tsan_read_write##n(void* p) { access(p, n, 2, false, RA, true); } \
  HID void __tsan_unaligned_read##n(void* p) { access(p, n, 0, false, RA, false); } \
  HID void __tsan_unaligned_write##n(void* p) { access(p, n, 1, false, RA, false); } \
  HID void __tsan_unaligned_read_write##n(void* p) { access(p, n, 2, false, RA, false); }
HOOK(1) HOOK(2) HOOK(4) HOOK(8) HOOK(16)
HID void __tsan_init() {}
HID void __tsan_func_entry(void*) {}
HID void __tsan_func_exit() {}
HID void* __tsan_memcpy(void* d, const void* s, size_t n) { for (size_t i = 0; i < n; i++) { access((u8*)s + i, 1, 0, false, RA, true); access((u8*)d + i, 1, 1, false, RA, true); } return memcpy(d, s, n); }
HID void* __tsan_memmove(void* d, const void* s, size_t n) { for (size_t i = 0; i < n; i++) { access((u8*)s + i, 1, 0, false, RA, true); access((u8*)d + i, 1, 1, false, RA, true); } return memmove(d, s, n); }
HID void* __tsan_memset(void* d, int c, size_t n) { for (size_t i = 0; i < n; i++) access((u8*)d + i, 1, 1, false, RA, true); return memset(d, c, n); }
// ------------------------------------------------ undefined behavior checks
struct SrcLoc { const char* file; u32 line, col; };
static void ub(const SrcLoc* l, const char* what) { if (W && W->cur && W->check) FAIL("%s at %s:%u:%u", what, l->file, l->line, l->col); }
#define UB1(n, w) HID void __ubsan_handle_##n(SrcLoc* d, u64) { ub(d, w); }
#define UB2(n, w) HID void __ubsan_handle_##n(SrcLoc* d, u64, u64) { ub(d, w); }
HID void __ubsan_handle_out_of_bounds(SrcLoc* d, u64 i) { char b[96]; snprintf(b, sizeof b, "index %lld is outside a private or fixed-size array", (long long)i); ub(d, b); }
UB1(type_mismatch_v1, "misaligned or null access") UB1(load_invalid_value, "invalid bool or enum value") UB1(negate_overflow, "signed overflow in negation")
UB1(float_cast_overflow, "float does not fit the integer it is cast to") UB1(vla_bound_not_positive, "array bound not positive")
UB2(add_overflow, "signed overflow in addition") UB2(sub_overflow, "signed overflow in subtraction") UB2(mul_overflow, "signed overflow in multiplication")
UB2(divrem_overflow, "integer division by zero or overflow") UB2(shift_out_of_bounds, "shift by a negative count or past the width") UB2(pointer_overflow, "pointer arithmetic wrapped")
HID void __ubsan_handle_builtin_unreachable(SrcLoc* d) { ub(d, "unreachable code reached"); }
HID void __ubsan_handle_missing_return(SrcLoc* d) { ub(d, "function ends without a return"); }

// ----------------------------------------------------------------- atomics
template <class T, class F> static u32 rmw(void* p, u32 val, F op) {
  T v; memcpy(&v, &val, 4);
  u32 o = __atomic_load_n((u32*)p, __ATOMIC_RELAXED), n;
  do { T a; memcpy(&a, &o, 4); T r = op(a, v); memcpy(&n, &r, 4); } while (!__atomic_compare_exchange_n((u32*)p, &o, n, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return o;
}
template <class T> static u32 rmwop(void* p, u32 op, u32 v) {
  switch (op) {
  case 0: return __atomic_load_n((u32*)p, __ATOMIC_RELAXED);
  case 1: case 2: return __atomic_exchange_n((u32*)p, v, __ATOMIC_RELAXED);
  case 3: return rmw<T>(p, v, [](T a, T b) { return a + b; });
  case 4: return rmw<T>(p, v, [](T a, T b) { return a - b; });
  case 5: return rmw<T>(p, v, [](T a, T b) { return b < a ? b : a; });
  case 6: return rmw<T>(p, v, [](T a, T b) { return a < b ? b : a; });
  case 7: return __atomic_fetch_and((u32*)p, v, __ATOMIC_RELAXED);
  case 8: return __atomic_fetch_or((u32*)p, v, __ATOMIC_RELAXED);
  default: return __atomic_fetch_xor((u32*)p, v, __ATOMIC_RELAXED);
  }
}
HID u32 __msl_atomic32(u64 a, u32 op, u32 v, int) {
  u32 o = op & 15; void* p = (void*)a;
  access(p, 4, o == 0 ? 0 : o == 1 ? 1 : 2, true, RA, true);
  return op & 32 ? rmwop<float>(p, o, v) : op & 16 ? rmwop<u32>(p, o, v) : rmwop<int>(p, o, v);
}
HID u32 __msl_atomic_cas32(u64 a, u32 e, u32 n, int) {
  access((void*)a, 4, 2, true, RA, true);
  __atomic_compare_exchange_n((u32*)a, &e, n, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return e;
}
