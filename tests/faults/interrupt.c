/* SPDX-License-Identifier: MIT
 *
 * Runs that a function of the host ends: it is called on the thread that
 * called, which need have no more than 64 KiB of stack, and may itself use the
 * library. Another run of the plan is right afterwards.
 */
#include <unistd.h>

#include "faults.h"

enum { SECONDS = 120 };

typedef struct asked {
  pthread_t thread;
  const work* inner; /* what the function runs each time it is called */
  int calls, end;    /* the number of calls after which the run is to end */
} asked;

static int32_t interrupt(void* context) {
  asked* a = (asked*)context;
  if (!pthread_equal(a->thread, pthread_self()))
    fail("interrupt", "called on another thread");
  run_plan(a->inner);
  return ++a->calls == a->end ? -1 : 0;
}

/* Runs of many seconds, as each query sees all keys. */
static void* interrupted(void* of) {
  const work* inner = (const work*)of;
  int32_t threads;
  for (threads = 1; threads <= 3; threads++) {
    work w = new_work(NATTEN_MPS_ATTN_BACKWARD, 192, threads);
    asked a = {pthread_self(), inner, 0, 2};
    natten_mps_error error = new_error();
    int32_t status;
    w.problem.axes[0].kernel = w.problem.axes[1].kernel = 192;
    make_plan(&w);
    w.args.interrupt = interrupt;
    w.args.interrupt_context = &a;
    while ((status = library.run(w.plan, &w.args, &error)) == NATTEN_MPS_OK) {
    }
    if (status != NATTEN_MPS_INTERRUPTED || a.calls != a.end)
      fail("interrupt", error.message);
    free_work(&w);
  }
  return NULL;
}

int main(int count, char** arguments) {
  work inner, want;
  if (count != 2) fail("usage", "interrupt LIBRARY");
  alarm(SECONDS); /* ends runs that nothing interrupts */
  open_library(arguments[1]);
  inner = new_work(NATTEN_MPS_ATTN_BACKWARD, 32, 2);
  want = new_work(NATTEN_MPS_ATTN_BACKWARD, 32, 1);
  make_plan(&inner);
  want.plan = inner.plan;
  run_plan(&want);
  on_stack(64 << 10, interrupted, &inner);
  if (memcmp(inner.memory,
             want.memory,
             TENSORS * want.elements * sizeof(float)) != 0)
    fail("run", "other results after interrupted runs");
  want.plan = 0;
  free_work(&want);
  free_work(&inner);
  return 0;
}
