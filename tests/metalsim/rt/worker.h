// SPDX-License-Identifier: MIT
//
// worker.h -- the state of a launch, shared by the scheduler (mslrt.cpp), the memory
// checks (check.cpp) and the fault handler (fault.cpp).
#ifndef METALSIM_RT_WORKER_H
#define METALSIM_RT_WORKER_H

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>
#include <ucontext.h>
#include "launch.h"

#define API extern "C" __attribute__((visibility("default")))
#define HID extern "C" __attribute__((visibility("hidden")))
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

extern "C" char __ehdr_start[], _end[];

namespace msl {

constexpr u32 STACK = 128 << 10, GUARD = 4096, ARENA = 64 << 10, RED = 64, LIMIT = 32 << 10;
enum State : u8 { FRESH, READY, WAIT_SIMD, WAIT_SG, WAIT_TG, DONE };

struct Cell { // the last write and the last reads of one element
  u32 wser; u16 wtid, wep, wsg; u8 watomic, pad0; u32 wpc;
  u32 rser; u16 rtid, rep, rsg; u8 rmulti, ratomic; u32 rpc;
};
struct Region { u8* lo; u64 len; u32 granule, index, flags; Cell* cells; };
struct Var { u32 off, size, granule; int line; bool used; };

struct Fiber {
#if defined(__x86_64__) || defined(__aarch64__)
  void* sp;
#else
  ucontext_t uc;
#endif
  u8* stack;
  State st;
  u8 wkind;
  int wline;
  u32 wflags, tid, pos[3], active;
  u64 slots;
  u16 ep_tg, ep_dev, sg_tg, sg_dev;
};
struct Simd { u32 first, n, parity; alignas(64) u8 slots[2][34][64]; }; // 32 lanes, a shared result, its flag

struct Shared {
  const msl_launch* L;
  std::atomic<u64> next{0};
  u64 ntg;
  u32 ntgs[3];
  std::vector<Region> regions;
  std::vector<Cell*> owned;
  std::mutex mu;
  std::string err;
  std::atomic<bool> stop{false};
  msl_stats stats{};
};

struct Worker {
  Worker* next; // in the pool
  Shared* S;
  const msl_launch* L;
  Fiber* cur;
#if defined(__x86_64__) || defined(__aarch64__)
  void* sched;
#else
  ucontext_t sched;
#endif
  bool failed, check;
  std::vector<Fiber> f;
  std::vector<Simd*> sg;
  std::vector<u8*> stacks;
  u8* arena;
  Cell* acells;
  u8 owner[ARENA / 16];
  Var vars[256];
  u32 arena_top, tgmem;
  u32 nth, tgpos[3], tgdim[3], ser;
  u32 tgargs[31], tgarglen[31];
  Region* last;
  msl_stats st;
  u32 rng;
};
// No initial-exec model: hundreds of libraries would exhaust the static block.
extern __attribute__((visibility("hidden"))) __thread Worker* W;

// note records a launch's first finding, with the place of f, and stops the launch.
__attribute__((visibility("hidden"), format(printf, 2, 3))) void note(Fiber* f, const char* fmt, ...);
__attribute__((visibility("hidden"))) void faults(bool on); // installs or removes the fault handler

#if defined(__x86_64__) || defined(__aarch64__)
HID void msl_switch(void** save, void* to);
inline void yield() { Fiber* f = W->cur; msl_switch(&f->sp, W->sched); }
#else
inline void yield() { Fiber* f = W->cur; swapcontext(&f->uc, &W->sched); }
#endif

inline u32 off(void* pc) { return u32((char*)pc - __ehdr_start) - 1; }

} // namespace msl

#define FAIL(...) do { msl::note(msl::W->cur, __VA_ARGS__); msl::yield(); __builtin_unreachable(); } while (0)

#endif
