// SPDX-License-Identifier: MIT
//
// fault.cpp -- a fault inside a kernel ends the launch, not the process: the handler
// makes the fiber continue in park(), which returns to the scheduler.
#include <cstdlib>
#include <mutex>
#include <signal.h>
#include "worker.h"

using namespace msl;

static struct sigaction olds[4];
static const int sigs[4] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
static std::mutex sig_mu;
static int sig_users;
static void park() { for (;;) yield(); }
static void onfault(int n, siginfo_t* si, void* uc) {
  Worker* w = W;
  if (!w || !w->cur) {
    for (int i = 0; i < 4; i++) if (sigs[i] == n) {
      if (olds[i].sa_flags & SA_SIGINFO) return olds[i].sa_sigaction(n, si, uc);
      if (olds[i].sa_handler == SIG_DFL || olds[i].sa_handler == SIG_IGN) { sigaction(n, &olds[i], nullptr); return; }
      return olds[i].sa_handler(n);
    }
    return;
  }
#if defined(__x86_64__)
  auto& g = ((ucontext_t*)uc)->uc_mcontext.gregs;
  u64 pc = g[REG_RIP]; char* a = (char*)si->si_addr;
  bool stack = false;
  for (auto& f : w->f) if (f.stack && u64((u8*)a - (f.stack - GUARD)) < GUARD) stack = true;
  u32 o = u32((char*)pc - __ehdr_start);
  if (n == SIGILL) note(w->cur, "index outside a private array (trap) at @{%x}", o);
  else if (stack) note(w->cur, "private memory overflow: more than %u bytes of stack, at @{%x}", STACK, o);
  else note(w->cur, "%s at address %p, at @{%x}", n == SIGFPE ? "arithmetic fault" : "memory fault", (void*)a, o);
  u64 sp = (u64)(w->cur->stack + STACK) - 4096;
  g[REG_RIP] = (greg_t)(u64)park; g[REG_RSP] = (greg_t)((sp & ~15ull) - 8);
#elif defined(__aarch64__)
  auto& g = ((ucontext_t*)uc)->uc_mcontext;
  u64 pc = g.pc; char* a = (char*)si->si_addr;
  bool stack = false;
  for (auto& f : w->f) if (f.stack && u64((u8*)a - (f.stack - GUARD)) < GUARD) stack = true;
  u32 o = u32((char*)pc - __ehdr_start);
  if (n == SIGILL || n == SIGTRAP) note(w->cur, "index outside a private array (trap) at @{%x}", o);
  else if (stack) note(w->cur, "private memory overflow: more than %u bytes of stack, at @{%x}", STACK, o);
  else note(w->cur, "%s at address %p, at @{%x}", n == SIGFPE ? "arithmetic fault" : "memory fault", (void*)a, o);
  g.sp = ((u64)(w->cur->stack + STACK) - 4096) & ~15ull; g.pc = (u64)park;
#else
  abort();
#endif
}
void msl::faults(bool on) {
  std::lock_guard<std::mutex> g(sig_mu);
  if (on ? sig_users++ : --sig_users) return;
  for (int i = 0; i < 4; i++) {
    struct sigaction a{};
    a.sa_sigaction = onfault; a.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    if (on) sigaction(sigs[i], &a, &olds[i]); else sigaction(sigs[i], &olds[i], nullptr);
  }
}
