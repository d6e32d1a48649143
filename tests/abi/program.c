/* SPDX-License-Identifier: MIT
 *
 * A C program that uses the library as any program would. Compiled as C99 and
 * as C++17.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "natten_mps.h"

static int failures = 0;

static void check(int good, const char* what, int line) {
  if (!good) {
    fprintf(stderr, "program.c:%d: %s\n", line, what);
    failures++;
  }
}
#define CHECK(condition) check(condition, #condition, __LINE__)

static natten_mps_error new_error(void) {
  natten_mps_error error;
  memset(&error, 'x', sizeof error);
  error.size = sizeof error;
  return error;
}

static int says(const natten_mps_error* error, const char* text) {
  if (strstr(error->message, text) != NULL) return 1;
  fprintf(stderr, "message is: %s\n", error->message);
  return 0;
}

enum {
  LENGTH = 20,
  KERNEL = 5,
  HEADS = 2,
  DIM = 3,
  COUNT = LENGTH * HEADS * DIM
};

typedef struct tensors {
  float query[COUNT], key[COUNT], value[COUNT], out[COUNT];
  float d_query[COUNT], d_key[COUNT], d_value[COUNT], d_out[COUNT];
  float lse[LENGTH * HEADS];
} tensors;

static void fill(float* values, int seed) {
  int i;
  for (i = 0; i < COUNT; i++) values[i] = (float)sin(0.7 * i + seed);
}

static double dot(const float* a, const float* b) {
  return (double)a[0] * b[0] + (double)a[1] * b[1] + (double)a[2] * b[2];
}

/* The definition, for one query and one channel. */
static double expected(const tensors* t, int query, int head, int channel) {
  int first = query - KERNEL / 2, key;
  double total = 0, sum = 0;
  if (first < 0) first = 0;
  if (first > LENGTH - KERNEL) first = LENGTH - KERNEL;
  for (key = first; key < first + KERNEL; key++) {
    int q = (query * HEADS + head) * DIM, k = (key * HEADS + head) * DIM;
    double weight = exp(dot(t->query + q, t->key + k) / sqrt((double)DIM));
    total += weight;
    sum += weight * t->value[k + channel];
  }
  return sum / total;
}

static int is_attention(const tensors* t) {
  int query, head, channel;
  for (query = 0; query < LENGTH; query++)
    for (head = 0; head < HEADS; head++)
      for (channel = 0; channel < DIM; channel++) {
        double want = expected(t, query, head, channel);
        float got = t->out[(query * HEADS + head) * DIM + channel];
        if (!(fabs(got - want) < 1e-5)) return 0;
      }
  return 1;
}

static void test_one_call(tensors* t) {
  int64_t shape[4] = {1, LENGTH, HEADS, DIM}, kernel[1] = {KERNEL};
  natten_mps_error error = new_error();
  memset(t->out, 0xff, sizeof t->out);
  CHECK(natten_mps_attention(NATTEN_MPS_FLOAT32,
                             1,
                             shape,
                             kernel,
                             t->query,
                             t->key,
                             t->value,
                             t->out,
                             &error) == NATTEN_MPS_OK);
  CHECK(is_attention(t));
  CHECK(error.status == NATTEN_MPS_OK && error.message[0] == 0);
  kernel[0] = LENGTH + 1;
  CHECK(natten_mps_attention(NATTEN_MPS_FLOAT32,
                             1,
                             shape,
                             kernel,
                             t->query,
                             t->key,
                             t->value,
                             t->out,
                             &error) == NATTEN_MPS_INVALID_ARGUMENT);
  CHECK(says(&error, "kernel 21 * dilation 1 exceeds length 20 on axis 0"));
}

static natten_mps_problem new_problem(natten_mps_op op) {
  natten_mps_problem problem;
  memset(&problem, 0, sizeof problem);
  problem.size = sizeof problem;
  problem.op = op;
  problem.dtype = NATTEN_MPS_FLOAT32;
  problem.rank = 1;
  problem.batch = 1;
  problem.heads = HEADS;
  problem.head_dim = DIM;
  problem.axes[0].length = LENGTH;
  problem.axes[0].kernel = KERNEL;
  return problem;
}

static natten_mps_tensor tensor(float* data) {
  natten_mps_tensor t;
  memset(&t, 0, sizeof t);
  t.data = data;
  t.strides[0] = COUNT;
  t.strides[1] = HEADS * DIM;
  t.strides[2] = DIM;
  t.strides[3] = 1;
  return t;
}

static natten_mps_args new_args(tensors* t) {
  natten_mps_args args;
  memset(&args, 0, sizeof args);
  args.size = sizeof args;
  args.query = tensor(t->query);
  args.key = tensor(t->key);
  args.value = tensor(t->value);
  args.out = tensor(t->out);
  args.lse = tensor(t->lse);
  args.lse.strides[1] = HEADS;
  args.lse.strides[2] = 1;
  return args;
}

static double loss(natten_mps_plan plan, natten_mps_args* args, tensors* t) {
  double sum = 0;
  int i;
  natten_mps_error error = new_error();
  CHECK(natten_mps_run(plan, args, &error) == NATTEN_MPS_OK);
  for (i = 0; i < COUNT; i++) sum += (double)t->out[i] * t->d_out[i];
  return sum;
}

/* Forward and backward; one gradient is compared with a finite difference. */
static void test_plans(tensors* t) {
  natten_mps_problem forward = new_problem(NATTEN_MPS_ATTN_FORWARD);
  natten_mps_problem backward = new_problem(NATTEN_MPS_ATTN_BACKWARD);
  natten_mps_plan ahead = 0, back = 0;
  natten_mps_plan_info info;
  natten_mps_error error = new_error();
  natten_mps_args args = new_args(t);
  float* places[3];
  const float* gradients[3];
  int i;
  CHECK(natten_mps_supports(&forward, "native", &error) == NATTEN_MPS_OK);
  CHECK(natten_mps_plan_create(&forward, NULL, &ahead, &error) ==
        NATTEN_MPS_OK);
  CHECK(natten_mps_plan_create(&backward, "auto", &back, &error) ==
        NATTEN_MPS_OK);
  info.size = sizeof info;
  CHECK(natten_mps_plan_info_get(back, &info, &error) == NATTEN_MPS_OK);
  CHECK(info.backend[0] != 0 && info.variant[0] != 0 &&
        info.scratch_bytes >= 0);
  CHECK(natten_mps_run(ahead, &args, &error) == NATTEN_MPS_OK);
  CHECK(is_attention(t));
  args.d_out = tensor(t->d_out);
  args.d_query = tensor(t->d_query);
  args.d_key = tensor(t->d_key);
  args.d_value = tensor(t->d_value);
  CHECK(natten_mps_run(back, &args, &error) == NATTEN_MPS_OK);
  places[0] = &t->query[31], gradients[0] = &t->d_query[31];
  places[1] = &t->key[5], gradients[1] = &t->d_key[5];
  places[2] = &t->value[COUNT - 1], gradients[2] = &t->d_value[COUNT - 1];
  for (i = 0; i < 3; i++) {
    float was = *places[i];
    double high, low;
    *places[i] = was + 0.01f;
    high = loss(ahead, &args, t);
    *places[i] = was - 0.01f;
    low = loss(ahead, &args, t);
    *places[i] = was;
    CHECK(fabs((high - low) / 0.02 - *gradients[i]) < 1e-3);
  }
  CHECK(natten_mps_plan_destroy(ahead, &error) == NATTEN_MPS_OK);
  CHECK(natten_mps_plan_destroy(back, NULL) == NATTEN_MPS_OK);
  CHECK(natten_mps_run(ahead, &args, &error) == NATTEN_MPS_BAD_HANDLE);
  CHECK(error.status == NATTEN_MPS_BAD_HANDLE &&
        says(&error, "never made or is destroyed"));
}

static void test_errors(tensors* t) {
  natten_mps_problem problem = new_problem(NATTEN_MPS_QK_FORWARD);
  natten_mps_plan plan = 1;
  natten_mps_error error = new_error();
  natten_mps_args args = new_args(t);
  problem.size = 0;
  CHECK(natten_mps_plan_create(&problem, NULL, &plan, &error) ==
        NATTEN_MPS_INVALID_ARGUMENT);
  CHECK(plan == 0 && says(&error, "size of natten_mps_problem is 0"));
  problem.size = sizeof problem;
  problem.flags = NATTEN_MPS_SCALE;
  problem.scale = NAN;
  CHECK(natten_mps_supports(&problem, NULL, &error) ==
        NATTEN_MPS_INVALID_ARGUMENT);
  CHECK(says(&error, "scale is NaN (want a finite number)"));
  problem.flags = 0;
  CHECK(natten_mps_plan_create(&problem, "reference", &plan, NULL) ==
        NATTEN_MPS_OK);
  CHECK(natten_mps_run(plan, &args, &error) == NATTEN_MPS_INVALID_ARGUMENT);
  CHECK(says(&error, "attn is NULL (qk_forward needs it)"));
  CHECK(natten_mps_run(plan, NULL, &error) == NATTEN_MPS_INVALID_ARGUMENT);
  CHECK(natten_mps_plan_create(NULL, NULL, NULL, NULL) ==
        NATTEN_MPS_INVALID_ARGUMENT);
  CHECK(natten_mps_plan_destroy(plan, &error) == NATTEN_MPS_OK);
}

static void test_library(void) {
  natten_mps_error error = new_error();
  natten_mps_backend_info backend;
  natten_mps_axis axis;
  natten_mps_window_info window;
  CHECK(natten_mps_abi_minimum() <= NATTEN_MPS_ABI_VERSION);
  CHECK(NATTEN_MPS_ABI_VERSION <= natten_mps_abi_version());
  CHECK(strchr(natten_mps_version(), '.') != NULL);
  CHECK(natten_mps_set_num_threads(2, &error) == NATTEN_MPS_OK);
  CHECK(natten_mps_get_num_threads() == 2);
  CHECK(natten_mps_set_num_threads(0, NULL) == NATTEN_MPS_OK);
  backend.size = sizeof backend;
  CHECK(natten_mps_backend(0, &backend, &error) == NATTEN_MPS_OK);
  CHECK(backend.name[0] != 0 && backend.details[0] != 0);
  memset(&axis, 0, sizeof axis);
  axis.length = 10;
  axis.kernel = 3;
  axis.dilation = 2;
  axis.causal = 1;
  window.size = sizeof window;
  CHECK(natten_mps_window(&axis, 1, 3, &window, &error) == NATTEN_MPS_OK);
  CHECK(window.first == 1 && window.count == 2 && window.step == 2 &&
        window.slot == 1);
}

int main(void) {
  tensors* t = (tensors*)malloc(sizeof *t);
  if (t == NULL) return 1;
  fill(t->query, 1);
  fill(t->key, 2);
  fill(t->value, 3);
  fill(t->d_out, 4);
  test_library();
  test_one_call(t);
  test_plans(t);
  test_errors(t);
  free(t);
  return failures != 0;
}
