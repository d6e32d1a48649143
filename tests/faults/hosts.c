/* SPDX-License-Identifier: MIT
 *
 * Hosts in an unusual state. Each is a child that changes something, loads the
 * library, computes, and must get the results of an ordinary process, bit by
 * bit. (Linux only)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "faults.h"
#include "filters.h"

enum { SIDE = 40, SECONDS = 120, SKIPPED = 77 };

static const char* path;
/* The tensors, and what an ordinary process makes of them, forward and
 * backward. They are made before the floating-point state is changed. */
static float *inputs, *want[2];

static void* shared(size_t bytes) {
  void* p = mmap(
      NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) fail("mmap", strerror(errno));
  return p;
}

/* Makes tensors with numbers that overflow, underflow, or are subnormal. */
static void make_inputs(void) {
  work w = new_work(NATTEN_MPS_ATTN_FORWARD, SIDE, 1);
  size_t i, count = TENSORS * w.elements;
  for (i = 0; i + 1009 < count; i += 1009) {
    w.memory[i] = 1e25f;
    w.memory[i + 300] = 1e-42f;
    w.memory[i + 700] = -1e-25f;
  }
  inputs = (float*)shared(count * sizeof(float));
  memcpy(inputs, w.memory, count * sizeof(float));
  want[0] = (float*)shared(count * sizeof(float));
  want[1] = (float*)shared(count * sizeof(float));
  free(w.memory);
}

static work odd_work(int32_t op, int32_t threads) {
  work w = new_work(op, SIDE, threads);
  memcpy(w.memory, inputs, TENSORS * w.elements * sizeof(float));
  return w;
}

static int keeps_flags;

/* Computes with 1 to 3 threads, and fails if a result differs from `want`. */
static void check(void) {
  int32_t op, threads;
  for (op = NATTEN_MPS_ATTN_FORWARD; op <= NATTEN_MPS_ATTN_BACKWARD; op++)
    for (threads = 1; threads <= 3; threads++) {
      work w = odd_work(op, threads);
      make_plan(&w);
      if (keeps_flags) feclearexcept(FE_ALL_EXCEPT);
      run_plan(&w);
      if (keeps_flags && fetestexcept(FE_ALL_EXCEPT) != 0)
        fail("fetestexcept", "flags were set");
      if (memcmp(w.memory, want[op - 1], TENSORS * w.elements * sizeof(float)))
        fail("run", "other results");
      free_work(&w);
    }
}

static void ordinary(void) {
  int32_t op;
  open_library(path);
  for (op = NATTEN_MPS_ATTN_FORWARD; op <= NATTEN_MPS_ATTN_BACKWARD; op++) {
    work w = odd_work(op, 1);
    make_plan(&w);
    run_plan(&w);
    memcpy(want[op - 1], w.memory, TENSORS * w.elements * sizeof(float));
    free_work(&w);
  }
  check();
}

/* ---- floating point: the caller's state is not used, and is kept ---- */

static void with_rounding(int mode) {
  open_library(path);
  fesetround(mode);
  check();
  if (fegetround() != mode) fail("fegetround", "the library changed it");
}

static void rounding(void) {
  with_rounding(FE_UPWARD);
  with_rounding(FE_TOWARDZERO);
}

static void rounding_before(void) {
  fesetround(FE_UPWARD);
  open_library(path);
  check();
}

static void flags(void) {
  open_library(path);
  keeps_flags = 1;
  check();
}

/* The modes of the floating-point unit, without its flags. */
#if defined(__x86_64__)
enum { FLUSH = 0x8040 }; /* FTZ and DAZ */
static uint64_t modes(void) { return _mm_getcsr() & 0xffc0; }
static void set_modes(uint64_t m) { _mm_setcsr((unsigned)m); }
#else
enum { FLUSH = 1 << 24 }; /* FZ */
static uint64_t modes(void) {
  uint64_t m;
  __asm__ volatile("mrs %0, fpcr" : "=r"(m));
  return m;
}
static void set_modes(uint64_t m) { __asm__ volatile("msr fpcr, %0" ::"r"(m)); }
#endif

static void flush_to_zero(void) {
  uint64_t before = modes() | FLUSH;
  open_library(path);
  set_modes(before);
  check();
  if (modes() != before) fail("modes", "the library changed them");
}

/* Most Arm processors cannot trap. */
static void enable_traps(int exceptions) {
  if (feenableexcept(exceptions) == -1) exit(SKIPPED);
}

static void trapping(void) {
  open_library(path);
  enable_traps(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW);
  check();
  if (fegetexcept() == 0) fail("fegetexcept", "the library changed it");
}

static void trapping_before(void) {
  enable_traps(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
  open_library(path);
  check();
}

/* ---- environment, files ---- */

static void closed_files(void) {
  int fd;
  for (fd = 0; fd < 3; fd++) close(fd);
  open_library(path);
  check();
}

/* A folder with nothing but the library: no /proc, no /sys, no /dev. */
static void empty_root(void) {
  char folder[] = "/tmp/natten-root-XXXXXX", command[3 * PATH_MAX];
  int outside = open("/", O_RDONLY | O_DIRECTORY);
  if (mkdtemp(folder) == NULL) exit(SKIPPED);
  snprintf(command, sizeof command, "cp '%s' '%s/library'", path, folder);
  if (system(command) != 0) exit(SKIPPED);
  if (chroot(folder) != 0 || chdir("/") != 0) {
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    exit(system(command) == 0 ? SKIPPED : 1);
  }
  open_library("/library");
  unlink("/library");
  check();
  if (unlinkat(outside, folder + 1, AT_REMOVEDIR) != 0)
    fail("unlinkat", strerror(errno));
}

static void no_environment(void) {
  clearenv();
  open_library(path);
  check();
}

static void set_variables(void) {
  setenv("GOMAXPROCS", "1", 1);
  setenv("GOGC", "off", 1);
  setenv("GOTRACEBACK", "crash", 1);
  setenv("GODEBUG", "asyncpreemptoff=1,madvdontneed=1,nonsense=7", 1);
  setenv("GOMEMLIMIT", "1MiB", 1);
  open_library(path);
  check();
}

static void other_locale(void) {
  const char* names[] = {"de_DE.UTF-8", "tr_TR.UTF-8", "C.UTF-8"};
  size_t i;
  for (i = 0; i < 3 && setlocale(LC_ALL, names[i]) == NULL; i++) {
  }
  open_library(path);
  check();
}

/* ---- threads ---- */

static void* check_thread(void* ignored) {
  (void)ignored;
  check();
  return NULL;
}

static void small_stack(void) {
  open_library(path);
  on_stack(64 << 10, check_thread, NULL);
}

static void* load_and_check(void* ignored) {
  open_library(path);
  return check_thread(ignored);
}

static void small_stack_first(void) {
  on_stack(64 << 10, load_and_check, NULL);
}

static volatile sig_atomic_t fired;

static void on_alarm(int signal) {
  (void)signal;
  fired++;
}

static void* check_with_own_stack(void* ignored) {
  static char memory[64 << 10];
  stack_t own = {memory, 0, sizeof memory}, now;
  struct sigaction action;
  (void)ignored;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_alarm;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigaction(SIGUSR1, &action, NULL);
  sigaltstack(&own, NULL);
  raise(SIGUSR1);
  check();
  raise(SIGUSR1);
  sigaltstack(NULL, &now);
  if (now.ss_sp != own.ss_sp || now.ss_size != own.ss_size || fired != 2)
    fail("sigaltstack", "the library changed it");
  return NULL;
}

static void own_signal_stack(void) {
  open_library(path);
  on_stack(1 << 20, check_with_own_stack, NULL);
}

/* Whether the header says that a thread's first call unblocks a signal. */
static int is_unblocked(int number) {
  static const int numbers[] = {SIGCHLD,
                                SIGPROF,
                                SIGURG,
                                SIGILL,
                                SIGTRAP,
                                SIGBUS,
                                SIGFPE,
                                SIGSEGV,
                                SIGSTKFLT};
  size_t i;
  for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (numbers[i] == number) return 1;
  return 0;
}

static void blocked_signals(void) {
  sigset_t all, now;
  int i;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
  pthread_sigmask(SIG_BLOCK, NULL, &all);
  open_library(path);
  check();
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  for (i = 1; i < 32; i++)
    if (sigismember(&all, i) != sigismember(&now, i) && !is_unblocked(i))
      fail("sigmask", strsignal(i));
}

/* ---- a second Go runtime ---- */

static void* check_often(void* ignored) {
  int i;
  for (i = 0; i < 5; i++) check();
  return ignored;
}

/* Computes with another library than the other threads. */
static void* attend_often(void* handle) {
  __typeof__(natten_mps_attention)* attention;
  const int64_t shape[] = {1, SIDE, SIDE, HEADS, DIM};
  const int64_t kernel[] = {WINDOW, WINDOW};
  work w = odd_work(NATTEN_MPS_ATTN_FORWARD, 0);
  float *q = w.memory, *k = q + w.elements, *v = k + w.elements;
  float* out = v + w.elements;
  int i;
  *(void**)&attention = symbol(handle, "natten_mps_attention");
  for (i = 0; i < 30; i++) {
    natten_mps_error error = new_error();
    memset(out, -1, w.elements * sizeof(float));
    if (attention(NATTEN_MPS_FLOAT32, 2, shape, kernel, q, k, v, out, &error) !=
        0)
      fail("attention", error.message);
    if (memcmp(out, want[0] + (out - w.memory), w.elements * sizeof(float)))
      fail("attention", "other results");
  }
  free_work(&w);
  return NULL;
}

/* A copy of the library is another library, with a Go runtime of its own. */
static void second_runtime(void) {
  char copy[] = "/tmp/natten-copy-XXXXXX", command[3 * PATH_MAX];
  int fd = mkstemp(copy);
  void* handle;
  pthread_t thread;
  if (fd < 0) exit(SKIPPED);
  close(fd);
  snprintf(command, sizeof command, "cp '%s' '%s'", path, copy);
  if (system(command) != 0) exit(SKIPPED);
  open_library(path);
  check();
  handle = open_library(copy);
  unlink(copy);
  check();
  if (open_library(path) == handle) fail(copy, "is the same library");
  if (pthread_create(&thread, NULL, attend_often, handle) != 0) exit(SKIPPED);
  check_often(NULL);
  pthread_join(thread, NULL);
}

/* ---- system calls that fail ---- */

/* Calls that a sandbox refuses, before the library is loaded. */
static void refused_calls(void) {
  static const unsigned numbers[] = {
      __NR_mbind,
      __NR_set_mempolicy,
      __NR_sched_setaffinity,
      __NR_membarrier,
      __NR_madvise,
      __NR_mincore,
      __NR_getrandom,
      __NR_uname,
      __NR_perf_event_open,
      __NR_epoll_create1,
      __NR_eventfd2,
      __NR_pipe2,
      __NR_timer_create,
      __NR_setitimer,
      __NR_sched_getaffinity,
      __NR_process_vm_readv,
  };
  static const unsigned errors[] = {EPERM, ENOSYS, EINVAL};
  size_t i;
  for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    refuse(numbers[i], errors[i % 3]);
  open_library(path);
  check();
}

static void fork_while_computing(void) {
  pthread_t thread;
  int i, status;
  open_library(path);
  pthread_create(&thread, NULL, check_often, NULL);
  for (i = 0; i < 20; i++) {
    pid_t child = fork();
    if (child == 0) {
      if (i % 2 != 0) exit(0);
      execl("/bin/true", "true", (char*)NULL);
      _exit(1);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
      fail("fork", "the child did not end well");
  }
  pthread_join(thread, NULL);
}

static const struct host {
  const char* name;
  void (*body)(void);
} hosts[] = {
    {"ordinary", ordinary},
    {"rounding", rounding},
    {"rounding before loading", rounding_before},
    {"exception flags", flags},
    {"flush to zero", flush_to_zero},
    {"unmasked exceptions", trapping},
    {"unmasked exceptions before loading", trapping_before},
    {"closed files", closed_files},
    {"empty root folder", empty_root},
    {"no environment", no_environment},
    {"variables of Go", set_variables},
    {"locale", other_locale},
    {"small stack", small_stack},
    {"small stack first", small_stack_first},
    {"own signal stack", own_signal_stack},
    {"blocked signals", blocked_signals},
    {"second Go runtime", second_runtime},
    {"refused system calls", refused_calls},
    {"fork while computing", fork_while_computing},
};

/* Whether a child ended as it should. */
static int good(const struct host* h) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    alarm(SECONDS);
    h->body();
    exit(0);
  }
  if (child < 0 || waitpid(child, &status, 0) != child) fail("fork", "failed");
  if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
    fprintf(stderr, "%s: not possible here\n", h->name);
    return 1;
  }
  if (status != 0) fprintf(stderr, "%s: ended with %#x\n", h->name, status);
  return status == 0;
}

int main(int count, char** arguments) {
  size_t i;
  int failed = 0;
  if (count != 2) fail("usage", "hosts LIBRARY");
  path = arguments[1];
  make_inputs();
  for (i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
    failed += !good(&hosts[i]);
  return failed != 0;
}
