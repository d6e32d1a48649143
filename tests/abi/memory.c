/* SPDX-License-Identifier: MIT
 *
 * A million tokens, forward and backward, must not need a buffer on the order
 * of length * kernel: measures how much the process grows while it computes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "natten_mps.h"

enum { KERNEL = 13, DIM = 64 };

static double peak_megabytes(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return (double)usage.ru_maxrss / 1e6;
#else
  return (double)usage.ru_maxrss * 1024 / 1e6;
#endif
}

/* Memory whose pages are all resident, since every page is written. */
static natten_mps_tensor tensor(int64_t length, int64_t dim) {
  natten_mps_tensor t;
  float* data = (float*)malloc((size_t)(length * dim) * sizeof(float));
  int64_t i;
  if (data == NULL) exit(1);
  for (i = 0; i < length * dim; i++) data[i] = (float)(i % 17) * 0.1f - 0.8f;
  memset(&t, 0, sizeof t);
  t.data = data;
  t.strides[1] = t.strides[2] = dim;
  t.strides[3] = 1;
  return t;
}

static natten_mps_args new_args(int64_t length) {
  natten_mps_args args;
  memset(&args, 0, sizeof args);
  args.size = sizeof args;
  args.query = tensor(length, DIM);
  args.key = tensor(length, DIM);
  args.value = tensor(length, DIM);
  args.out = tensor(length, DIM);
  args.lse = tensor(length, 1);
  args.d_out = tensor(length, DIM);
  args.d_query = tensor(length, DIM);
  args.d_key = tensor(length, DIM);
  args.d_value = tensor(length, DIM);
  return args;
}

static void run(natten_mps_op op, int64_t length, const natten_mps_args* args) {
  natten_mps_problem problem;
  natten_mps_plan plan;
  natten_mps_error error;
  memset(&problem, 0, sizeof problem);
  problem.size = sizeof problem;
  problem.op = op;
  problem.dtype = NATTEN_MPS_FLOAT32;
  problem.rank = 1;
  problem.batch = 1;
  problem.heads = 1;
  problem.head_dim = DIM;
  problem.axes[0].length = length;
  problem.axes[0].kernel = KERNEL;
  error.size = sizeof error;
  if (natten_mps_plan_create(&problem, "native", &plan, &error) ||
      natten_mps_run(plan, args, &error) ||
      natten_mps_plan_destroy(plan, &error)) {
    fprintf(stderr, "memory.c: %s\n", error.message);
    exit(1);
  }
}

int main(void) {
  const int64_t length = 1000000, warm = 1000;
  const double bound = (double)length * KERNEL * sizeof(float) / 4 / 1e6;
  natten_mps_args small = new_args(warm), large = new_args(length);
  double before, growth;
  run(NATTEN_MPS_ATTN_FORWARD, warm, &small);
  run(NATTEN_MPS_ATTN_BACKWARD, warm, &small);
  before = peak_megabytes();
  run(NATTEN_MPS_ATTN_FORWARD, length, &large);
  run(NATTEN_MPS_ATTN_BACKWARD, length, &large);
  growth = peak_megabytes() - before;
  printf(
      "memory: 1-D, L=%ld K=%d D=%d, forward and backward: tensors and program "
      "%.1f MB, growth %.1f MB (allowed %.1f, a quarter of L*K floats)\n",
      (long)length,
      KERNEL,
      DIM,
      before,
      growth,
      bound);
  return !(growth < bound);
}
