/* SPDX-License-Identifier: MIT
 *
 * Threads with stacks of 64 KiB compute while two timers send thousands of
 * SIGALRM and SIGPROF to the process. The handlers are installed after the
 * library was loaded, with SA_ONSTACK, as the header requires.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "faults.h"

enum { THREADS = 4, ROUNDS = 60, STACK = 64 * 1024 };

static volatile sig_atomic_t fired[2];

static void count(int number) { fired[number == SIGPROF]++; }

static void* compute(void* w) {
  int i;
  for (i = 0; i < ROUNDS; i++) run_plan((const work*)w);
  return NULL;
}

static void storm(int number, int timer, int microseconds) {
  struct sigaction action;
  struct itimerval every;
  memset(&action, 0, sizeof action);
  action.sa_handler = count;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigaction(number, &action, NULL);
  every.it_value.tv_sec = every.it_interval.tv_sec = 0;
  every.it_value.tv_usec = every.it_interval.tv_usec = microseconds;
  setitimer(timer, &every, NULL);
}

static void calm(int timer) {
  struct itimerval never;
  memset(&never, 0, sizeof never);
  setitimer(timer, &never, NULL);
}

int main(int count_, char** arguments) {
  pthread_t threads[THREADS];
  pthread_attr_t small = with_stack(STACK);
  work each[THREADS], want;
  size_t k;
  int i, op;
  if (count_ != 2) fail("usage", "signals LIBRARY");
  open_library(arguments[1]);
  for (op = NATTEN_MPS_ATTN_FORWARD; op <= NATTEN_MPS_ATTN_BACKWARD; op++) {
    const size_t first = op == NATTEN_MPS_ATTN_FORWARD ? 3 : 5; /* outputs */
    const size_t end = op == NATTEN_MPS_ATTN_FORWARD ? 4 : 8;
    want = new_work(op, 32, 2);
    make_plan(&want);
    run_plan(&want);
    storm(SIGALRM, ITIMER_REAL, 100);
    storm(SIGPROF, ITIMER_PROF, 1000);
    for (i = 0; i < THREADS; i++) {
      each[i] = new_work(op, 32, 2);
      each[i].plan = want.plan;
      if (pthread_create(&threads[i], &small, compute, &each[i]) != 0)
        fail("pthread_create", "failed");
    }
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    calm(ITIMER_REAL);
    calm(ITIMER_PROF);
    for (i = 0; i < THREADS; i++) {
      for (k = first * want.elements; k < end * want.elements; k++)
        if (memcmp(&each[i].memory[k], &want.memory[k], sizeof(float)) != 0)
          fail("run", "other results under signals");
      each[i].plan = 0;
      free_work(&each[i]);
    }
    free_work(&want);
  }
  if (fired[0] < 100 || fired[1] < 1) fail("signals", "did not fire");
  return 0;
}
