/* SPDX-License-Identifier: MIT
 *
 * The overhead of a call from C: a planned problem with almost nothing to
 * compute (16 tokens, one head of 8 channels, a window of 7). Prints the median
 * microseconds of several rounds, forward and backward; tests/bench/run.py
 * builds and runs it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "natten_mps.h"

enum { LENGTH = 16, DIM = 8, KERNEL = 7, ROUNDS = 101, CALLS = 1000 };

static float memory[9][LENGTH * DIM];

static void check(int32_t status, const natten_mps_error* error) {
  if (status != NATTEN_MPS_OK) {
    fprintf(stderr, "call: %s\n", error->message);
    exit(1);
  }
}

static void place(natten_mps_tensor* tensor, float* data, int64_t channels) {
  tensor->data = data;
  tensor->strides[0] = LENGTH * channels;
  tensor->strides[1] = channels;
  tensor->strides[2] = channels;
  tensor->strides[3] = 1;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static int ascending(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

/* Microseconds per call. */
static double measure(int32_t op, const natten_mps_args* args) {
  static const natten_mps_problem none;
  natten_mps_problem problem = none;
  natten_mps_error error;
  natten_mps_plan plan;
  double rounds[ROUNDS];
  int i, k;
  error.size = sizeof error;
  problem.size = sizeof problem;
  problem.op = op;
  problem.dtype = NATTEN_MPS_FLOAT32;
  problem.rank = 1;
  problem.batch = problem.heads = problem.kv_heads = 1;
  problem.head_dim = problem.value_dim = DIM;
  problem.axes[0].length = LENGTH;
  problem.axes[0].kernel = KERNEL;
  problem.axes[0].dilation = problem.axes[0].stride = 1;
  problem.axes[0].query_step = 1;
  check(natten_mps_plan_create(&problem, "native", &plan, &error), &error);
  for (i = 0; i < ROUNDS; i++) {
    const double start = now();
    for (k = 0; k < CALLS; k++)
      check(natten_mps_run(plan, args, &error), &error);
    rounds[i] = (now() - start) / CALLS;
  }
  check(natten_mps_plan_destroy(plan, &error), &error);
  qsort(rounds, ROUNDS, sizeof rounds[0], ascending);
  return rounds[ROUNDS / 2];
}

int main(void) {
  static natten_mps_args args;
  natten_mps_tensor* const tensors[] = {&args.query,
                                        &args.key,
                                        &args.value,
                                        &args.out,
                                        &args.d_out,
                                        &args.d_query,
                                        &args.d_key,
                                        &args.d_value};
  size_t i;
  args.size = sizeof args;
  for (i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
    place(tensors[i], memory[i], DIM);
  place(&args.lse, memory[8], 1);
  printf("%.3f", measure(NATTEN_MPS_ATTN_FORWARD, &args));
  printf(" %.3f\n", measure(NATTEN_MPS_ATTN_BACKWARD, &args));
  return 0;
}
