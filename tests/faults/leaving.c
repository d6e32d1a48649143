/* SPDX-License-Identifier: MIT
 *
 * Programs that call exit, which runs their handlers, while other threads
 * compute; plans that are destroyed while other threads run them; and a library
 * that is closed.
 */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"

enum { THREADS = 3, SECONDS = 60 };

static const char* path;

static void* run_forever(void* w) {
  for (;;) run_plan((const work*)w);
  return NULL;
}

/* Runs the plan until it is destroyed, and returns the status that says so. */
static void* run_until_gone(void* w) {
  natten_mps_error error = new_error();
  int32_t status;
  do
    status =
        library.run(((const work*)w)->plan, &((const work*)w)->args, &error);
  while (status == NATTEN_MPS_OK);
  return (void*)(intptr_t)status;
}

static void at_exit(void) { usleep(1000); }

static work start(pthread_t* threads, void* (*body)(void*), work* each) {
  work shared = new_work(NATTEN_MPS_ATTN_BACKWARD, 48, 2);
  int i;
  make_plan(&shared);
  for (i = 0; i < THREADS; i++) {
    each[i] = new_work(NATTEN_MPS_ATTN_BACKWARD, 48, 2);
    each[i].plan = shared.plan;
    if (pthread_create(&threads[i], NULL, body, &each[i]) != 0)
      fail("pthread_create", "failed");
  }
  return shared;
}

static void leave_by_exit(void) {
  pthread_t threads[THREADS];
  static work each[THREADS];
  atexit(at_exit);
  open_library(path);
  start(threads, run_forever, each);
  usleep(30000);
  exit(7);
}

static void destroy_under_way(void) {
  pthread_t threads[THREADS];
  static work each[THREADS];
  natten_mps_error error = new_error();
  work shared;
  int i;
  open_library(path);
  shared = start(threads, run_until_gone, each);
  usleep(20000);
  if (library.plan_destroy(shared.plan, &error) != 0)
    fail("destroy", error.message);
  for (i = 0; i < THREADS; i++) {
    void* status;
    pthread_join(threads[i], &status);
    if ((intptr_t)status != NATTEN_MPS_BAD_HANDLE)
      fail("run", "ended otherwise");
  }
  exit(0);
}

/* dlclose does not unload the library. */
static void close_library(void) {
  void* handle = open_library(path);
  work w = new_work(NATTEN_MPS_ATTN_FORWARD, 48, 2);
  make_plan(&w);
  run_plan(&w);
  if (dlclose(handle) != 0) fail("dlclose", dlerror());
  run_plan(&w);
  free_work(&w);
  exit(0);
}

static void expect(const char* name, void (*body)(void), int status) {
  int round, got;
  for (round = 0; round < 10; round++) {
    pid_t child = fork();
    if (child == 0) {
      alarm(SECONDS); /* ends a program that hangs */
      body();
    }
    if (child < 0 || waitpid(child, &got, 0) != child) fail("fork", "failed");
    if (!WIFEXITED(got) || WEXITSTATUS(got) != status) {
      fprintf(
          stderr, "%s: ended with %#x (want status %d)\n", name, got, status);
      exit(1);
    }
  }
}

int main(int count, char** arguments) {
  if (count != 2) fail("usage", "leaving LIBRARY");
  path = arguments[1];
  expect("exit", leave_by_exit, 7);
  expect("plan_destroy", destroy_under_way, 0);
  expect("dlclose", close_library, 0);
  return 0;
}
