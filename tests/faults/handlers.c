/* SPDX-License-Identifier: MIT
 *
 * Handlers that are installed after the library was loaded and lack SA_ONSTACK,
 * as in older hosts and profilers. They run on the stack of the code that they
 * interrupt and use 8 KiB of it, which the library keeps free on threads that
 * have called it once. Timers send SIGALRM and SIGPROF to the process, and the
 * main thread sends SIGUSR1 to the threads that compute.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <unistd.h>

#include "faults.h"

enum { THREADS = 3, ROUNDS = 15, USED = 8 << 10 };

static volatile sig_atomic_t fired, storm;
static atomic_int ready, running;

static void on_signal(int number) {
  volatile char used[USED];
  size_t i;
  for (i = 0; i < USED; i += 64) used[i] = (char)number;
  fired += used[0] == number;
}

static void* compute(void* w) {
  int i;
  run_plan((const work*)w);
  ready++;
  while (!storm) usleep(100);
  for (i = 0; i < ROUNDS; i++) run_plan((const work*)w);
  running--;
  return NULL;
}

static void install(int number) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(number, &action, NULL);
}

static void every(int timer, int microseconds) {
  struct itimerval t;
  t.it_value.tv_sec = t.it_interval.tv_sec = 0;
  t.it_value.tv_usec = t.it_interval.tv_usec = microseconds;
  setitimer(timer, &t, NULL);
}

int main(int count, char** arguments) {
  pthread_t threads[THREADS];
  work each[THREADS], want;
  size_t k;
  int i, op;
  if (count != 2) fail("usage", "handlers LIBRARY");
  open_library(arguments[1]);
  install(SIGALRM);
  install(SIGPROF);
  install(SIGUSR1);
  for (op = NATTEN_MPS_ATTN_FORWARD; op <= NATTEN_MPS_ATTN_BACKWARD; op++) {
    const size_t first = op == NATTEN_MPS_ATTN_FORWARD ? 3 : 5; /* outputs */
    const size_t end = op == NATTEN_MPS_ATTN_FORWARD ? 4 : 8;
    want = new_work(op, 32, 2);
    make_plan(&want);
    run_plan(&want);
    storm = 0;
    ready = 0;
    running = THREADS;
    for (i = 0; i < THREADS; i++) {
      each[i] = new_work(op, 32, 2);
      each[i].plan = want.plan;
      if (pthread_create(&threads[i], NULL, compute, &each[i]) != 0)
        fail("pthread_create", "failed");
    }
    while (ready < THREADS) usleep(100);
    every(ITIMER_REAL, 100);
    every(ITIMER_PROF, 1000);
    storm = 1;
    for (k = 0; running > 0 && k < 1000000; k++) {
      pthread_kill(threads[k % THREADS], SIGUSR1);
      usleep(50);
    }
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    every(ITIMER_REAL, 0);
    every(ITIMER_PROF, 0);
    for (i = 0; i < THREADS; i++) {
      for (k = first * want.elements; k < end * want.elements; k++)
        if (memcmp(&each[i].memory[k], &want.memory[k], sizeof(float)) != 0)
          fail("run", "other results under signals");
      each[i].plan = 0;
      free_work(&each[i]);
    }
    free_work(&want);
  }
  if (fired < 100) fail("signals", "did not fire");
  return 0;
}
