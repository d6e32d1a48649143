// SPDX-License-Identifier: MIT

// A plugin for QEMU's emulators. When the program ends, it writes how many
// instructions were executed in each block of code, as lines with an address
// and a count, to the file that its argument "to" names. Debian's binaries
// support plugins, but the header is not packaged, so the few functions are
// declared here (QEMU 4.2 and newer, docs/devel/tcg-plugins.rst).
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;

extern void qemu_plugin_register_vcpu_tb_trans_cb(
    uint64_t id, void (*f)(uint64_t id, struct qemu_plugin_tb* tb));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* tb);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb* tb);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb* tb,
                                                     int op,
                                                     void* counter,
                                                     uint64_t by);
extern void qemu_plugin_register_atexit_cb(uint64_t id,
                                           void (*f)(uint64_t id, void* data),
                                           void* data);

enum { ADD_U64 = 0 };

int qemu_plugin_version = 1;

struct block {
  uint64_t address, executed;
  struct block* next;
};

static struct block* blocks;
static const char* to;

static void translated(uint64_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  struct block* b = calloc(1, sizeof *b);
  if (b == NULL) {
    abort();
  }
  b->address = qemu_plugin_tb_vaddr(tb);
  b->next = __atomic_load_n(&blocks, __ATOMIC_ACQUIRE);
  while (!__atomic_compare_exchange_n(
      &blocks, &b->next, b, 0, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE)) {
  }
  qemu_plugin_register_vcpu_tb_exec_inline(
      tb, ADD_U64, &b->executed, qemu_plugin_tb_n_insns(tb));
}

static void ended(uint64_t id, void* data) {
  (void)id;
  (void)data;
  FILE* file = fopen(to, "w");
  if (file == NULL) {
    abort();
  }
  for (struct block* b = blocks; b != NULL; b = b->next) {
    fprintf(file, "%" PRIx64 " %" PRIu64 "\n", b->address, b->executed);
  }
  if (fclose(file) != 0) {
    abort();
  }
}

int qemu_plugin_install(uint64_t id,
                        const void* info,
                        int count,
                        char** arguments) {
  (void)info;
  for (int i = 0; i < count; i++) {
    if (strncmp(arguments[i], "to=", 3) == 0) {
      to = strdup(arguments[i] + 3);
    }
  }
  if (to == NULL) {
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
