/* SPDX-License-Identifier: MIT
 *
 * Tensors whose memory cannot be read or, for outputs, written: the run says so
 * and ends, whatever thread met it, and the next one is right. Structs
 * likewise.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "faults.h"

enum { SIDE = 16, ROUNDS = 2 }; /* whole pages per tensor */

/* Whether the operation writes the tensor, one of those of new_work. */
static int is_output(int32_t op, int tensor) {
  if (op == NATTEN_MPS_ATTN_FORWARD) return tensor == 3 || tensor == 8;
  return tensor >= 5 && tensor <= 7;
}

static int is_used(int32_t op, int tensor) {
  return op == NATTEN_MPS_ATTN_BACKWARD || tensor <= 3 || tensor == 8;
}

/* A work of which each tensor has pages of its own. */
static work paged(int32_t op, int32_t dtype, int32_t threads) {
  work w = new_work(op, SIDE, threads);
  size_t bytes = TENSORS * w.elements * sizeof(float);
  float* pages = (float*)mmap(
      NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  natten_mps_tensor* t;
  if (pages == MAP_FAILED) fail("mmap", "failed");
  memcpy(pages, w.memory, bytes);
  for (t = &w.args.query; t <= &w.args.d_extra_value; t++)
    if (t->data != NULL) t->data = pages + ((float*)t->data - w.memory);
  free(w.memory);
  w.memory = pages;
  w.problem.dtype = dtype;
  return w;
}

static void check(int32_t op, int32_t dtype, int32_t threads, const char* on) {
  work w = paged(op, dtype, threads), good = paged(op, dtype, 1);
  natten_mps_error error = new_error();
  size_t each = w.elements * sizeof(float);
  int tensor, round;
  if (library.plan_create(&w.problem, on, &w.plan, &error) != 0)
    fail("plan_create", error.message);
  good.plan = w.plan;
  run_plan(&good);
  for (tensor = 0; tensor < TENSORS; tensor++) {
    float* at = w.memory + (size_t)tensor * w.elements;
    if (!is_used(op, tensor)) continue;
    for (round = 0; round < ROUNDS; round++) {
      int32_t status;
      mprotect(at, each, is_output(op, tensor) ? PROT_READ : PROT_NONE);
      status = library.run(w.plan, &w.args, &error);
      mprotect(at, each, PROT_READ | PROT_WRITE);
      if (status != NATTEN_MPS_INVALID_ARGUMENT ||
          strstr(error.message, "(want") == NULL)
        fail("run", error.message);
    }
    run_plan(&w);
    if (memcmp(w.memory, good.memory, TENSORS * each) != 0)
      fail("run", "other results after a fault");
  }
  if (library.plan_destroy(w.plan, &error) != 0) fail("destroy", error.message);
  munmap(w.memory, TENSORS * each);
  munmap(good.memory, TENSORS * each);
}

static void refuses(const char* what, int32_t status) {
  if (status != NATTEN_MPS_INVALID_ARGUMENT) fail(what, "not refused");
}

/* Structs on a page with the protection, of which the caller's error is one. */
static void check_structs(int protection) {
  size_t size = (size_t)sysconf(_SC_PAGESIZE);
  void* page = mmap(
      NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  work w = new_work(NATTEN_MPS_ATTN_FORWARD, SIDE, 1);
  natten_mps_error error = new_error();
  natten_mps_plan plan;
  if (page == MAP_FAILED) fail("mmap", "failed");
  make_plan(&w);
  memcpy(page, &error, sizeof error);
  mprotect(page, size, protection);
  refuses("error", library.run(w.plan, &w.args, (natten_mps_error*)page));
  refuses("error", library.plan_destroy(0, (natten_mps_error*)page));
  refuses("plan", library.plan_create(&w.problem, NULL, (uint64_t*)page, NULL));
  refuses("args", library.run(w.plan, (natten_mps_args*)page, &error));
  refuses("problem",
          library.plan_create((natten_mps_problem*)page, NULL, &plan, &error));
  run_plan(&w);
  free_work(&w);
  munmap(page, size);
}

int main(int count, char** arguments) {
  int32_t op, dtype, threads;
  if (count != 2) fail("usage", "pages LIBRARY");
  open_library(arguments[1]);
  for (op = NATTEN_MPS_ATTN_FORWARD; op <= NATTEN_MPS_ATTN_BACKWARD; op++) {
    for (dtype = NATTEN_MPS_FLOAT32; dtype <= NATTEN_MPS_BFLOAT16; dtype++)
      for (threads = 1; threads <= 3; threads++)
        check(op, dtype, threads, "native");
    check(op, NATTEN_MPS_FLOAT32, 1, "reference");
  }
  check_structs(PROT_NONE);
  check_structs(PROT_READ);
  return 0;
}
