/* SPDX-License-Identifier: MIT
 *
 * launch.h - the arguments and results of msl_run of a compiled kernel library.
 */
#ifndef METALSIM_RT_LAUNCH_H
#define METALSIM_RT_LAUNCH_H

#include <stdint.h>

/* msl_launch.flags */
enum {
  MSL_FTZ = 2,     /* denormals are flushed to zero */
  MSL_REVERSE = 4, /* threads, simdgroups, threadgroups in descending order */
  MSL_SHUFFLE = 8, /* random order, by seed */
  MSL_NOCHECK = 16
};

/* msl_buf.flags */
enum {
  MSL_UNDEFINED = 1, /* nothing has been stored in it yet */
  MSL_CONSTANT = 2   /* bound in the constant address space */
};

typedef struct {
  uint32_t index, flags;
  uint8_t *ptr, *base; /* ptr is base plus the binding's offset */
  uint64_t len;        /* bytes from base on */
  uint32_t granule;    /* alignment of the element type */
  uint32_t pad;
} msl_buf;

typedef struct {
  uint32_t index, len;
} msl_tgm;

/* Stacks and memory that launches keep for later launches of any library of the
 * process; zero at first. They are shared because a process may load thousands of
 * libraries, and is limited to about 65000 mappings. */
typedef struct {
  int lock;
  void* idle;
} msl_pool;

typedef struct {
  uint32_t kernel, grid[3], tg[3]; /* grid in threads */
  uint32_t flags, seed, workers, nbuf, ntgm;
  msl_buf* buf;
  msl_tgm* tgm;
  msl_pool* pool;
} msl_launch;

/* Accesses and bytes, which only checked libraries count. */
typedef struct {
  uint64_t threads, tgs, barriers, simdops, accesses, switches;
  uint64_t device_read, device_written, constant_read;
  uint64_t threadgroup_read, threadgroup_written;
  uint32_t tgmem, pad;
} msl_stats;

#endif
