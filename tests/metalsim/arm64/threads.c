/* SPDX-License-Identifier: MIT
 *
 * Calls the library from several threads of a C program on the simulated Metal: threads
 * LIBRARY-OF-TORCH STREAM, with NATTEN_MPS_SIMULATOR set. STREAM is host, own, torch or
 * torch_queue. Each thread repeatedly runs its own problem, forward and backward, and
 * compares every result with that of the CPU engine.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../sim/metalsim.h"
#include "natten_mps.h"

enum { THREADS = 4, RUNS = 3, SIDE = 9, HEADS = 2, DIM = 16, TENSORS = 9 };
enum { COUNT = SIDE * SIDE * HEADS * DIM };

static const char* stream;
static natten_mps_memory memory_kind;

/* The tensors of a problem, consecutive in memory, each in its own pages. */
typedef struct {
  float* data; /* [TENSORS][COUNT] */
  uint64_t buffer;
  natten_mps_args args;
} tensors;

static void fail(const char* what, const char* why) {
  fprintf(stderr, "threads, stream %s: %s: %s\n", stream, what, why);
  exit(1);
}

static void check(int32_t status, const char* what, natten_mps_error* e) {
  if (status != NATTEN_MPS_OK) fail(what, e->message);
}

static tensors new_tensors(int seed, int on_gpu) {
  tensors t;
  natten_mps_args* a = &t.args;
  natten_mps_tensor* of[TENSORS] = {&a->query,
                                    &a->key,
                                    &a->value,
                                    &a->out,
                                    &a->lse,
                                    &a->d_out,
                                    &a->d_query,
                                    &a->d_key,
                                    &a->d_value};
  size_t size = (TENSORS * COUNT * sizeof(float) + 65535) / 65536 * 65536;
  int i;
  memset(&t, 0, sizeof t);
  t.data = aligned_alloc(65536, size);
  if (t.data == NULL) fail("aligned_alloc", "no memory");
  for (i = 0; i < TENSORS * COUNT; i++)
    t.data[i] = (float)((i + seed) * 7919 % 1009) / 1009 - 0.5f;
  if (on_gpu) t.buffer = metalsim_register(t.data, size);
  a->size = sizeof *a;
  for (i = 0; i < TENSORS; i++) {
    int64_t channels = of[i] == &a->lse ? 1 : DIM;
    of[i]->data = on_gpu ? (void*)(uintptr_t)t.buffer : t.data + i * COUNT;
    of[i]->offset = on_gpu ? (int64_t)(i * COUNT * sizeof(float)) : 0;
    of[i]->strides[0] = SIDE * SIDE * HEADS * channels;
    of[i]->strides[1] = SIDE * HEADS * channels;
    of[i]->strides[2] = HEADS * channels;
    of[i]->strides[3] = channels;
    of[i]->strides[4] = 1;
  }
  return t;
}

static natten_mps_plan new_plan(int32_t op, int on_gpu) {
  natten_mps_problem p;
  natten_mps_plan plan;
  natten_mps_error e;
  e.size = sizeof e;
  memset(&p, 0, sizeof p);
  p.size = sizeof p;
  p.op = op;
  p.dtype = NATTEN_MPS_FLOAT32;
  p.rank = 2;
  p.batch = 1;
  p.heads = HEADS;
  p.head_dim = DIM;
  p.axes[0].length = p.axes[1].length = SIDE;
  p.axes[0].kernel = 3;
  p.axes[1].kernel = 5;
  p.memory = on_gpu ? memory_kind : NATTEN_MPS_HOST;
  check(natten_mps_plan_create(&p, on_gpu ? "metal" : "native", &plan, &e),
        "plan",
        &e);
  return plan;
}

/* Forward, then backward with the outputs of forward. */
static void run(const natten_mps_plan plans[2], tensors* t) {
  natten_mps_error e;
  int i;
  e.size = sizeof e;
  for (i = 0; i < 2; i++) check(natten_mps_run(plans[i], &t->args, &e), "run", &e);
}

static void compare(const tensors* a, const tensors* b) {
  int i;
  for (i = 0; i < TENSORS * COUNT; i++)
    if (!(fabsf(a->data[i] - b->data[i]) < 2e-5f)) {
      fprintf(stderr, "tensor %d, element %d: %g, not %g\n", i / COUNT, i % COUNT, a->data[i], b->data[i]);
      fail("results", "differ from the CPU engine's");
    }
}

static void* work(void* argument) {
  int number = (int)(intptr_t)argument, i;
  int on_stream = memory_kind == NATTEN_MPS_METAL;
  natten_mps_plan metal[2] = {new_plan(NATTEN_MPS_ATTN_FORWARD, 1), new_plan(NATTEN_MPS_ATTN_BACKWARD, 1)};
  natten_mps_plan native[2] = {new_plan(NATTEN_MPS_ATTN_FORWARD, 0), new_plan(NATTEN_MPS_ATTN_BACKWARD, 0)};
  int index = strcmp(stream, "torch") == 0 ? number : 0; /* torch 2.9 has only one queue */
  metalsim_stream_use(index);
  for (i = 0; i < RUNS; i++) {
    tensors t = new_tensors(100 * number + i, on_stream), wanted = new_tensors(100 * number + i, 0);
    run(metal, &t);
    if (on_stream) metalsim_stream_synchronize(index);
    run(native, &wanted);
    compare(&t, &wanted);
    if (on_stream) metalsim_unregister(t.data);
    free(t.data);
    free(wanted.data);
  }
  for (i = 0; i < 2; i++) {
    natten_mps_plan_destroy(metal[i], NULL);
    natten_mps_plan_destroy(native[i], NULL);
  }
  return NULL;
}

static void choose(const char* torch) {
  natten_mps_stream_options o;
  natten_mps_error e;
  e.size = sizeof e;
  memory_kind = strcmp(stream, "host") == 0 ? NATTEN_MPS_HOST : NATTEN_MPS_METAL;
  memset(&o, 0, sizeof o);
  o.size = sizeof o;
  o.stream = strcmp(stream, "torch") == 0         ? NATTEN_MPS_STREAM_TORCH
             : strcmp(stream, "torch_queue") == 0 ? NATTEN_MPS_STREAM_TORCH_QUEUE
                                                  : NATTEN_MPS_STREAM_OWN;
  o.torch_library = o.stream == NATTEN_MPS_STREAM_OWN ? NULL : torch;
  check(natten_mps_stream_set(&o, &e), "stream", &e);
}

int main(int argc, char** argv) {
  pthread_t threads[THREADS];
  char text[4096];
  int i;
  if (argc != 3) return 2;
  stream = argv[2];
  choose(argv[1]);
  for (i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, work, (void*)(intptr_t)i) != 0) fail("pthread_create", "failed");
  for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  if (metalsim_findings(text, sizeof text) != 0) fail("findings", text);
  printf("threads, stream %s: %d threads, %d runs each, %llu dispatches\n",
         stream,
         THREADS,
         RUNS,
         (unsigned long long)metalsim_stat("dispatches"));
  return 0;
}
