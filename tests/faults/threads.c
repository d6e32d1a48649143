/* SPDX-License-Identifier: MIT
 *
 * The system refuses new threads, by a filter of system calls that is installed
 * after the library was loaded: runs use the calling thread, and neither plans
 * nor the runtime's garbage collector need another. A thread count that changes
 * under load does not change results. (Linux only)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"
#include "filters.h"

enum { PLANS = 10000, ROUNDS = 100, THREADS = 3, SECONDS = 120 };

static const char* path;

static void* nothing(void* p) { return p; }

static void without_threads(void) {
  work w, want;
  int i;
  pthread_t thread;
  const size_t bytes = TENSORS * sizeof(float);
  open_library(path);
  refuse(__NR_clone, EAGAIN);
  refuse(__NR_clone3, EAGAIN);
  if (pthread_create(&thread, NULL, nothing, NULL) == 0) exit(77);
  w = new_work(NATTEN_MPS_ATTN_BACKWARD, 48, 4);
  want = new_work(NATTEN_MPS_ATTN_BACKWARD, 48, 1);
  make_plan(&w);
  want.plan = w.plan;
  run_plan(&want);
  for (i = 0; i < ROUNDS; i++) run_plan(&w);
  if (memcmp(w.memory, want.memory, w.elements * bytes) != 0)
    fail("run", "other results without threads");
  want.plan = 0;
  free_work(&want);
  for (i = 0; i < PLANS; i++) {
    want.problem = w.problem;
    make_plan(&want);
    if (i % 100 == 0) run_plan(&w);
    if (library.plan_destroy(want.plan, NULL) != 0)
      fail("plan_destroy", "failed");
  }
  free_work(&w);
  exit(0);
}

static atomic_int done;

static void* compute(void* of) {
  work* w = (work*)of;
  int i;
  for (i = 0; i < ROUNDS; i++) {
    w->args.num_threads = i % 4;
    run_plan(w);
  }
  done++;
  return NULL;
}

/* The library's thread count and that of runs change while other threads run;
 * 10,000 plans exist at the same time. */
static void changing_threads(void) {
  int32_t (*set)(int32_t, natten_mps_error*);
  static natten_mps_plan plans[PLANS];
  pthread_t threads[THREADS];
  work each[THREADS], want;
  int i;
  *(void**)&set = symbol(open_library(path), "natten_mps_set_num_threads");
  want = new_work(NATTEN_MPS_ATTN_BACKWARD, 32, 1);
  make_plan(&want);
  run_plan(&want);
  for (i = 0; i < THREADS; i++) {
    each[i] = new_work(NATTEN_MPS_ATTN_BACKWARD, 32, 0);
    each[i].plan = want.plan;
    if (pthread_create(&threads[i], NULL, compute, &each[i]) != 0)
      fail("pthread_create", "failed");
  }
  for (i = 0; i < PLANS || done < THREADS; i++) {
    if (set(i % 5, NULL) != 0) fail("set_num_threads", "failed");
    if (i < PLANS &&
        library.plan_create(&want.problem, NULL, &plans[i], NULL) != 0)
      fail("plan_create", "failed");
  }
  for (i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    if (memcmp(each[i].memory,
               want.memory,
               TENSORS * want.elements * sizeof(float)) != 0)
      fail("run", "other results with other threads");
  }
  for (i = 0; i < PLANS; i++)
    if (library.plan_destroy(plans[i], NULL) != 0)
      fail("plan_destroy", "failed");
  exit(0);
}

static int outcome(void (*body)(void)) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    alarm(SECONDS);
    body();
  }
  if (child < 0 || waitpid(child, &status, 0) != child) fail("fork", "failed");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int count, char** arguments) {
  int refused, changed;
  if (count != 2) fail("usage", "threads LIBRARY");
  path = arguments[1];
  changed = outcome(changing_threads);
  if (changed != 0) fprintf(stderr, "changing threads: %d\n", changed);
  refused = outcome(without_threads);
  if (refused != 0) fprintf(stderr, "without threads: %d\n", refused);
  return changed != 0 ? changed : refused;
}
