/* SPDX-License-Identifier: MIT
 *
 * Memory runs out because the process's address space is limited: runs that
 * need more memory report this, and the process goes on. Once there is memory
 * again, the same plans compute the usual results. (Linux only)
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"

enum { CASES = 5, ROUNDS = 50, SECONDS = 120, RESERVE = 144 << 20 };

static const char* path;

/* Bytes of address space that the process uses. */
static rlim_t address_space(void) {
  unsigned long pages = 0;
  FILE* f = fopen("/proc/self/statm", "r");
  if (f == NULL || fscanf(f, "%lu", &pages) != 1)
    fail("/proc/self/statm", "unreadable");
  fclose(f);
  return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void limit(rlim_t bytes) {
  struct rlimit r;
  getrlimit(RLIMIT_AS, &r);
  r.rlim_cur = bytes;
  if (setrlimit(RLIMIT_AS, &r) != 0) fail("setrlimit", "failed");
}

/* Problems whose windows, channels and types use different code paths. */
static work variant(int n) {
  static const int32_t op[CASES] = {
      NATTEN_MPS_ATTN_FORWARD,
      NATTEN_MPS_ATTN_BACKWARD,
      NATTEN_MPS_ATTN_FORWARD,
      NATTEN_MPS_ATTN_BACKWARD,
      NATTEN_MPS_ATTN_FORWARD,
  };
  static const int64_t kernel[CASES][2] = {
      {7, 7}, {7, 7}, {48, 48}, {48, 48}, {3, 20}};
  work w = new_work(op[n], 48, 1);
  w.problem.axes[0].kernel = kernel[n][0];
  w.problem.axes[1].kernel = kernel[n][1];
  make_plan(&w);
  return w;
}

static int64_t scratch(const work* w) {
  natten_mps_plan_info info;
  natten_mps_error error = new_error();
  memset(&info, 0, sizeof info);
  info.size = sizeof info;
  if (library.plan_info_get(w->plan, &info, &error) != 0)
    fail("plan_info_get", error.message);
  return info.scratch_bytes;
}

/* Each problem runs in a new process, first without room, then with the room
 * that scratch_bytes and the header require. */
static void starve(int n) {
  work w;
  float* outputs;
  int round, refused = 0;
  rlim_t most;
  open_library(path);
  w = variant(n);
  outputs = (float*)malloc(TENSORS * w.elements * sizeof(float));
  if (outputs == NULL) fail("malloc", "no memory");
  memcpy(outputs, w.memory, TENSORS * w.elements * sizeof(float));
  most = (rlim_t)scratch(&w);
  limit(address_space());
  for (round = 0; round < ROUNDS; round++) {
    natten_mps_error error = new_error();
    int32_t status = library.run(w.plan, &w.args, &error);
    if (status == NATTEN_MPS_OUT_OF_MEMORY) {
      if (strstr(error.message, "(want") == NULL) fail("run", error.message);
      refused++;
    } else if (status != NATTEN_MPS_OK) {
      fail("run", error.message);
    }
  }
  if (refused != 0 && refused != ROUNDS) fail("run", "worked now and then");
  if (refused == 0) fail("run", "needs no memory");
  limit(address_space() + most + RESERVE);
  run_plan(&w);
  limit(RLIM_INFINITY);
  memcpy(outputs, w.memory, TENSORS * w.elements * sizeof(float));
  run_plan(&w);
  if (memcmp(outputs, w.memory, TENSORS * w.elements * sizeof(float)) != 0)
    fail("run", "computes something else once memory ran out");
  free_work(&w);
  exit(0);
}

int main(int count, char** arguments) {
  int n, failed = 0;
  if (count != 2) fail("usage", "memory LIBRARY");
  path = arguments[1];
  for (n = 0; n < CASES; n++) {
    int status;
    pid_t child = fork();
    if (child == 0) {
      alarm(SECONDS);
      starve(n);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
      fail("fork", "failed");
    if (status != 0) {
      fprintf(stderr, "case %d ended with %#x\n", n, status);
      failed = 1;
    }
  }
  return failed;
}
