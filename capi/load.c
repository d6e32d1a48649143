/* SPDX-License-Identifier: MIT
 *
 * Loads Go's runtime in the default floating-point environment: its threads
 * inherit that of the thread that calls dlopen. The first constructor runs
 * before the runtime's own one, which has no priority, and the second after it.
 */
#if defined(__x86_64__)
#include <xmmintrin.h>

typedef unsigned environment;
static const environment standard = 0x1f80;
static environment get(void) { return _mm_getcsr(); }
static void set(environment e) { _mm_setcsr(e); }
#elif defined(__aarch64__)
typedef unsigned long environment;
static const environment standard = 0;
static environment get(void) {
  environment e;
  __asm__ volatile("mrs %0, fpcr" : "=r"(e));
  return e;
}
static void set(environment e) { __asm__ volatile("msr fpcr, %0" : : "r"(e)); }
#else
typedef int environment;
static const environment standard = 0;
static environment get(void) { return standard; }
static void set(environment e) { (void)e; }
#endif

static environment before;

#if defined(__APPLE__)
#define FIRST __attribute__((constructor))
#else
#define FIRST __attribute__((constructor(101)))
#endif

FIRST static void natten_begin_loading(void) {
  before = get();
  set(standard);
}

__attribute__((constructor)) static void natten_end_loading(void) {
  set(before);
}
