/* SPDX-License-Identifier: MIT
 *
 * Addresses without memory. What a program passes for a tensor without elements
 * is often not the address of any memory: an empty std::vector gives NULL, an
 * empty Vec in Rust the alignment of its elements, an empty slice in Go or
 * NumPy any address. The library must not access them, whatever its runtime
 * does in the meantime. Each test runs on a new thread, which starts with a
 * small stack that grows during the call, while another thread keeps the
 * garbage collector busy.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "natten_mps.h"

/* Addresses that empty tensors have had in practice, and worse ones. */
static const uintptr_t addresses[] = {1,
                                      2,
                                      4,
                                      8,
                                      64,
                                      4095,
                                      4096,
                                      65536,
                                      0xc000000000u,
                                      0xc000123457u,
                                      UINTPTR_MAX};
enum { ADDRESSES = sizeof addresses / sizeof addresses[0], THREADS = 24 };

static void check(int32_t status, const natten_mps_error* error, int line) {
  if (status == NATTEN_MPS_OK) return;
  fprintf(stderr, "addresses.c:%d: %s\n", line, error->message);
  exit(1);
}
#define CHECK(call) check(call, &error, __LINE__)

static natten_mps_error new_error(void) {
  natten_mps_error error;
  memset(&error, 0, sizeof error);
  error.size = sizeof error;
  return error;
}

static natten_mps_problem new_problem(int32_t op, int64_t batch) {
  natten_mps_problem p;
  memset(&p, 0, sizeof p);
  p.size = sizeof p;
  p.op = op;
  p.dtype = NATTEN_MPS_FLOAT32;
  p.rank = 2;
  p.flags = NATTEN_MPS_RAGGED;
  if (op <= NATTEN_MPS_QK_BACKWARD) p.flags |= NATTEN_MPS_RPB;
  p.batch = batch;
  p.heads = 2;
  p.head_dim = 8;
  p.extra = 1;
  p.axes[0].length = p.axes[1].length = 9;
  p.axes[0].kernel = p.axes[1].kernel = 3;
  return p;
}

/* An empty batch in which every address is `address` rounded to elements. rpb
 * and its gradient have elements whatever the batch. */
static void run_empty(int32_t op, uintptr_t address) {
  static const float rpb[2 * 5 * 5];
  float d_rpb[2 * 5 * 5];
  const uintptr_t aligned = address < 4 ? 4 : address & ~(uintptr_t)3;
  natten_mps_error error = new_error();
  natten_mps_problem problem = new_problem(op, 0);
  natten_mps_plan plan;
  natten_mps_args args;
  natten_mps_tensor* tensor;
  memset(&args, 0, sizeof args);
  args.size = sizeof args;
  args.sizes = (const int64_t*)address;
  for (tensor = &args.query; tensor <= &args.d_extra_value; tensor++) {
    tensor->data = (void*)aligned;
    tensor->strides[0] = 1000;
    tensor->strides[1] = 100;
    tensor->strides[2] = tensor->strides[3] = 10;
    tensor->strides[4] = 1;
  }
  args.extra_key.strides[3] = args.extra_value.strides[3] = 1;
  args.d_extra_key.strides[3] = args.d_extra_value.strides[3] = 1;
  args.rpb.data = (void*)rpb;
  args.d_rpb.data = d_rpb;
  args.rpb.strides[0] = args.d_rpb.strides[0] = 25;
  args.rpb.strides[1] = args.d_rpb.strides[1] = 5;
  args.rpb.strides[2] = args.d_rpb.strides[2] = 1;
  CHECK(natten_mps_plan_create(&problem, NULL, &plan, &error));
  CHECK(natten_mps_run(plan, &args, &error));
  CHECK(natten_mps_plan_destroy(plan, &error));
}

static void* run_all(void* unused) {
  size_t i;
  (void)unused;
  for (i = 0; i < ADDRESSES; i++) {
    const int64_t shape[] = {0, 9, 9, 2, 8}, kernel[] = {3, 3};
    natten_mps_error error = new_error();
    void* nowhere = (void*)addresses[i];
    void* aligned =
        (void*)(addresses[i] < 4 ? 4 : addresses[i] & ~(uintptr_t)3);
    int32_t op;
    CHECK(natten_mps_attention(NATTEN_MPS_FLOAT32,
                               2,
                               shape,
                               kernel,
                               aligned,
                               aligned,
                               aligned,
                               aligned,
                               &error));
    /* Refused because it is not aligned; not accessed either. */
    if (nowhere != aligned &&
        natten_mps_attention(NATTEN_MPS_FLOAT32,
                             2,
                             shape,
                             kernel,
                             nowhere,
                             nowhere,
                             nowhere,
                             nowhere,
                             &error) != NATTEN_MPS_INVALID_ARGUMENT)
      check(1, &error, __LINE__);
    for (op = NATTEN_MPS_ATTN_FORWARD; op <= NATTEN_MPS_AV_BACKWARD; op++)
      run_empty(op, addresses[i]);
  }
  return NULL;
}

/* Creates and destroys plans, which become garbage to collect. */
static void* litter(void* done) {
  while (!*(volatile int*)done) {
    natten_mps_error error = new_error();
    natten_mps_problem problem = new_problem(NATTEN_MPS_ATTN_BACKWARD, 1);
    natten_mps_plan plan;
    CHECK(natten_mps_plan_create(&problem, NULL, &plan, &error));
    CHECK(natten_mps_plan_destroy(plan, &error));
  }
  return NULL;
}

int main(void) {
  pthread_t threads[THREADS], other;
  int i, done = 0;
  if (pthread_create(&other, NULL, litter, &done) != 0) return 1;
  for (i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, run_all, NULL) != 0) return 1;
  for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  done = 1;
  pthread_join(other, NULL);
  return 0;
}
