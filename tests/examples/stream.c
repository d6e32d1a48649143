/* SPDX-License-Identifier: MIT
 *
 * A causal stream in chunks. A chunk's queries need its own keys and some keys
 * before it, which a buffer holds. Two plans are enough for a stream of any
 * length, one for its first chunk and one for all others, because a causal
 * window depends only on the distance between query and key.
 */
#include <math.h>
#include <natten_mps.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64, CHUNKS = 20, KERNEL = 9, DILATION = 3, HEADS = 2, DIM = 16 };
enum { LENGTH = CHUNK * CHUNKS, TOKEN = HEADS * DIM };

static int fail(const natten_mps_error* error) {
  fprintf(stderr, "natten_mps: %s\n", error->message);
  return 1;
}

/* A tensor of tokens that begins at the given address. */
static natten_mps_tensor tokens(float* data) {
  natten_mps_tensor t;
  memset(&t, 0, sizeof t);
  t.data = data;
  t.strides[1] = TOKEN; /* the batch is one */
  t.strides[2] = DIM;
  t.strides[3] = 1;
  return t;
}

static natten_mps_problem causal(int64_t length) {
  natten_mps_problem p;
  memset(&p, 0, sizeof p);
  p.size = sizeof p;
  p.op = NATTEN_MPS_ATTN_FORWARD;
  p.dtype = NATTEN_MPS_FLOAT32;
  p.rank = 1;
  p.batch = 1;
  p.heads = HEADS;
  p.head_dim = DIM;
  p.axes[0].length = length;
  p.axes[0].kernel = KERNEL;
  p.axes[0].dilation = DILATION;
  p.axes[0].causal = 1;
  return p;
}

static int run(natten_mps_plan plan,
               float* query,
               float* keys,
               float* out,
               natten_mps_error* error) {
  natten_mps_args args;
  memset(&args, 0, sizeof args);
  args.size = sizeof args;
  args.query = tokens(query);
  args.key = args.value = tokens(keys);
  args.out = tokens(out);
  return natten_mps_run(plan, &args, error);
}

int main(void) {
  float* x = (float*)malloc(LENGTH * TOKEN * sizeof(float));
  float* whole = (float*)malloc(LENGTH * TOKEN * sizeof(float));
  float* streamed = (float*)malloc(LENGTH * TOKEN * sizeof(float));
  float* held; /* the keys that the next chunk needs, then its own */
  natten_mps_error error;
  natten_mps_problem p;
  natten_mps_plan all, first, next;
  size_t i, before;
  double worst = 0;
  if (x == NULL || whole == NULL || streamed == NULL) return 1;
  for (i = 0; i < LENGTH * TOKEN; i++) x[i] = (float)(i % 101) / 101 - 0.5f;
  error.size = sizeof error;

  p = causal(LENGTH);
  if (natten_mps_plan_create(&p, NULL, &all, &error) != NATTEN_MPS_OK ||
      run(all, x, x, whole, &error) != NATTEN_MPS_OK)
    return fail(&error);

  p = causal(CHUNK);
  if (natten_mps_plan_create(&p, NULL, &first, &error) != NATTEN_MPS_OK)
    return fail(&error);
  p = causal(2 * CHUNK);
  p.ranges[0].query_first = CHUNK;
  if (natten_mps_window_range(&p.axes[0], &p.ranges[0], &error) !=
          NATTEN_MPS_OK ||
      natten_mps_plan_create(&p, NULL, &next, &error) != NATTEN_MPS_OK)
    return fail(&error);

  before = (size_t)(CHUNK - p.ranges[0].key_first);
  held = (float*)calloc((before + CHUNK) * TOKEN, sizeof(float));
  if (held == NULL) return 1;
  for (i = 0; i < CHUNKS; i++) {
    float* chunk = x + i * CHUNK * TOKEN; /* as it arrives */
    float* own = held + before * TOKEN;
    memcpy(own, chunk, CHUNK * TOKEN * sizeof(float));
    if (run(i == 0 ? first : next,
            chunk,
            i == 0 ? own : held,
            streamed + i * CHUNK * TOKEN,
            &error) != NATTEN_MPS_OK)
      return fail(&error);
    memmove(held, held + CHUNK * TOKEN, before * TOKEN * sizeof(float));
  }

  for (i = 0; i < LENGTH * TOKEN; i++)
    worst = fmax(worst, fabs((double)streamed[i] - (double)whole[i]));
  printf("%d chunks of %d tokens, %d kept: %s\n",
         CHUNKS,
         CHUNK,
         (int)before,
         worst < 1e-5 ? "as in one pass" : "not as in one pass");
  natten_mps_plan_destroy(all, &error);
  natten_mps_plan_destroy(first, &error);
  natten_mps_plan_destroy(next, &error);
  free(x);
  free(whole);
  free(streamed);
  free(held);
  return worst < 1e-5 ? 0 : 1;
}
