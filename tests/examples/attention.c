/* SPDX-License-Identifier: MIT
 *
 * Neighborhood attention on a raw buffer, in two ways: with a single call, and
 * with a plan that is made once and run often.
 */
#include <natten_mps.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEIGHT = 24, WIDTH = 32, HEADS = 2, DIM = 16 };

static int fail(const natten_mps_error* error) {
  fprintf(stderr, "natten_mps: %s\n", error->message);
  return 1;
}

static natten_mps_tensor tensor(float* data) {
  natten_mps_tensor t;
  memset(&t, 0, sizeof t);
  t.data = data;
  t.strides[0] = (int64_t)HEIGHT * WIDTH * HEADS * DIM; /* batch */
  t.strides[1] = (int64_t)WIDTH * HEADS * DIM;          /* rows */
  t.strides[2] = (int64_t)HEADS * DIM;                  /* columns */
  t.strides[3] = DIM;                                   /* heads */
  t.strides[4] = 1;
  return t;
}

int main(void) {
  const int64_t shape[] = {1, HEIGHT, WIDTH, HEADS, DIM};
  const int64_t kernel[] = {5, 7};
  const size_t count = (size_t)HEIGHT * WIDTH * HEADS * DIM;
  float* x = (float*)malloc(count * sizeof(float));
  float* once = (float*)malloc(count * sizeof(float));
  float* planned = (float*)malloc(count * sizeof(float));
  natten_mps_error error;
  natten_mps_problem problem;
  natten_mps_args args;
  natten_mps_plan plan;
  size_t i;
  if (x == NULL || once == NULL || planned == NULL) return 1;
  for (i = 0; i < count; i++) x[i] = (float)(i % 101) / 101 - 0.5f;
  error.size = sizeof error;

  if (natten_mps_attention(
          NATTEN_MPS_FLOAT32, 2, shape, kernel, x, x, x, once, &error) !=
      NATTEN_MPS_OK)
    return fail(&error);

  memset(&problem, 0, sizeof problem);
  problem.size = sizeof problem;
  problem.op = NATTEN_MPS_ATTN_FORWARD;
  problem.dtype = NATTEN_MPS_FLOAT32;
  problem.rank = 2;
  problem.batch = 1;
  problem.heads = HEADS;
  problem.head_dim = DIM;
  problem.axes[0].length = HEIGHT;
  problem.axes[0].kernel = kernel[0];
  problem.axes[1].length = WIDTH;
  problem.axes[1].kernel = kernel[1];
  if (natten_mps_plan_create(&problem, NULL, &plan, &error) != NATTEN_MPS_OK)
    return fail(&error);
  memset(&args, 0, sizeof args);
  args.size = sizeof args;
  args.query = args.key = args.value = tensor(x);
  args.out = tensor(planned);
  if (natten_mps_run(plan, &args, &error) != NATTEN_MPS_OK) return fail(&error);
  if (natten_mps_plan_destroy(plan, &error) != NATTEN_MPS_OK)
    return fail(&error);

  printf("natten_mps %s: %s\n",
         natten_mps_version(),
         memcmp(once, planned, count * sizeof(float)) == 0
             ? "both ways agree"
             : "the two ways differ");
  i = (size_t)memcmp(once, planned, count * sizeof(float));
  free(x);
  free(once);
  free(planned);
  return i != 0;
}
