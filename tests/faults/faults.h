/* SPDX-License-Identifier: MIT
 *
 * What the programs in this folder share: opening the library at run time, so
 * that a test can prepare the process first, and a problem with tensors.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "natten_mps.h"

/* The library's functions. */
static struct {
  int32_t (*supports)(const natten_mps_problem*,
                      const char*,
                      natten_mps_error*);
  int32_t (*plan_create)(const natten_mps_problem*,
                         const char*,
                         natten_mps_plan*,
                         natten_mps_error*);
  int32_t (*plan_info_get)(natten_mps_plan,
                           natten_mps_plan_info*,
                           natten_mps_error*);
  int32_t (*run)(natten_mps_plan, const natten_mps_args*, natten_mps_error*);
  int32_t (*plan_destroy)(natten_mps_plan, natten_mps_error*);
} library;

static inline void fail(const char* what, const char* why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static inline void* symbol(void* handle, const char* name) {
  void* address = dlsym(handle, name);
  if (address == NULL) fail(name, dlerror());
  return address;
}

/* Opens the library and returns dlopen's handle. */
static inline void* open_library(const char* path) {
  void* handle = dlopen(path, RTLD_NOW);
  if (handle == NULL) fail(path, dlerror());
  *(void**)&library.supports = symbol(handle, "natten_mps_supports");
  *(void**)&library.plan_create = symbol(handle, "natten_mps_plan_create");
  *(void**)&library.plan_info_get = symbol(handle, "natten_mps_plan_info_get");
  *(void**)&library.run = symbol(handle, "natten_mps_run");
  *(void**)&library.plan_destroy = symbol(handle, "natten_mps_plan_destroy");
  return handle;
}

static inline natten_mps_error new_error(void) {
  natten_mps_error error;
  memset(&error, 0, sizeof error);
  error.size = sizeof error;
  return error;
}

/* Attention over `side` x `side` tokens with a window of 7 x 7 and 4 heads of
 * 32 channels, and its tensors, which are dense and heads-last. */
typedef struct work {
  natten_mps_problem problem;
  natten_mps_args args;
  natten_mps_plan plan;
  size_t elements; /* of query */
  float* memory;
} work;

enum { HEADS = 4, DIM = 32, WINDOW = 7, TENSORS = 9 };

static inline void place(natten_mps_tensor* t,
                         float* data,
                         int64_t side,
                         int64_t channels) {
  t->data = data;
  t->strides[0] = side * side * HEADS * channels;
  t->strides[1] = side * HEADS * channels;
  t->strides[2] = HEADS * channels;
  t->strides[3] = channels;
  t->strides[4] = 1;
}

/* Describes the problem, without calling the library. */
static inline work new_work(int32_t op, int64_t side, int32_t threads) {
  work w;
  natten_mps_args* a = &w.args;
  natten_mps_tensor* of[TENSORS] = {&a->query,
                                    &a->key,
                                    &a->value,
                                    &a->out,
                                    &a->d_out,
                                    &a->d_query,
                                    &a->d_key,
                                    &a->d_value,
                                    &a->lse};
  size_t i;
  memset(&w, 0, sizeof w);
  w.problem.size = sizeof w.problem;
  w.problem.op = op;
  w.problem.dtype = NATTEN_MPS_FLOAT32;
  w.problem.rank = 2;
  w.problem.batch = 1;
  w.problem.heads = HEADS;
  w.problem.head_dim = DIM;
  w.problem.axes[0].length = w.problem.axes[1].length = side;
  w.problem.axes[0].kernel = w.problem.axes[1].kernel = WINDOW;
  w.args.size = sizeof w.args;
  w.args.num_threads = threads;
  w.elements = (size_t)(side * side * HEADS * DIM);
  w.memory = (float*)malloc(TENSORS * w.elements * sizeof(float));
  if (w.memory == NULL) fail("malloc", "no memory");
  for (i = 0; i < TENSORS * w.elements; i++)
    w.memory[i] = (float)(i * 7919 % 1009) / 1009 - 0.5f;
  for (i = 0; i < TENSORS; i++)
    place(of[i], w.memory + i * w.elements, side, i == 8 ? 1 : DIM);
  return w;
}

static inline void make_plan(work* w) {
  natten_mps_error error = new_error();
  if (library.plan_create(&w->problem, "native", &w->plan, &error) != 0)
    fail("plan_create", error.message);
}

static inline void run_plan(const work* w) {
  natten_mps_error error = new_error();
  if (library.run(w->plan, &w->args, &error) != 0) fail("run", error.message);
}

static inline void free_work(work* w) {
  natten_mps_error error = new_error();
  if (w->plan != 0 && library.plan_destroy(w->plan, &error) != 0)
    fail("plan_destroy", error.message);
  free(w->memory);
}

/* The attributes of a thread whose stack has this size, or the smallest that
 * the system allows (128 KiB on arm64 Linux). */
static inline pthread_attr_t with_stack(size_t bytes) {
  const size_t least = (size_t)PTHREAD_STACK_MIN;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (pthread_attr_setstacksize(&attributes, bytes < least ? least : bytes))
    fail("pthread_attr_setstacksize", "failed");
  return attributes;
}

/* Calls a function on a new thread with such a stack. */
static inline void on_stack(size_t bytes, void* (*body)(void*), void* of) {
  pthread_attr_t attributes = with_stack(bytes);
  pthread_t thread;
  if (pthread_create(&thread, &attributes, body, of) != 0)
    fail("pthread_create", "failed");
  pthread_join(thread, NULL);
}

#endif
