// SPDX-License-Identifier: MIT
//
// Sums over all queries, for gradients of tensors that all queries share. The
// queries are divided into parts, one per simdgroup, each of which writes a
// partial sum; reduce.metal adds these in a fixed order.
#pragma once
#include "na_walk.h"

// A row of such a sum: an output of one sample.
struct NaRowAt {
  int batch, o[3];
  bool live;
};

// Rows number the outputs in row-major order, with samples slowest.
inline NaRowAt na_row(
    constant NaParams& p, constant int* sizes, int batch, int row, bool live) {
  NaRowAt r;
  r.o[2] = row % p.axis[2].outputs;
  row /= p.axis[2].outputs;
  r.o[1] = row % p.axis[1].outputs;
  row /= p.axis[1].outputs;
  r.o[0] = row % p.axis[0].outputs;
  r.batch = batch + row / p.axis[0].outputs;
  r.live = live;
  NA_UNROLL
  for (int i = 0; i < 3; i++) {
    r.o[i] = live ? r.o[i] : 0;
    r.live = r.live && p.axis[i].query_first + r.o[i] * p.axis[i].step <
                           na_length(p, sizes, live ? r.batch : batch, i);
  }
  r.batch = live ? r.batch : batch;
  return r;
}

// The rows x <= row < y of a part, of `rows` in total.
inline int2 na_part(constant NaParams& p, int rows, int part) {
  int size = (rows + p.splits - 1) / p.splits;
  return int2(min(part * size, rows), min(part * size + size, rows));
}

// Sum of x over the lane groups of a simdgroup.
template <int G, int N>
inline void na_sum_groups(thread NaRow<N>& x) {
  NA_UNROLL
  for (int m = G; m < 32; m *= 2) {
    NA_UNROLL
    for (int i = 0; i < N; i++) {
      x.v[i] += simd_shuffle_xor(x.v[i], ushort(m));
    }
  }
}

// The key at a relative position from a query: its slot if the query sees it,
// otherwise any slot.
struct NaRelative {
  int key[3], slot;
  bool seen;
};

inline NaRelative na_relative(constant NaParams& p,
                              constant int* sizes,
                              thread const NaRowAt& at,
                              int cell) {
  NaRelative r;
  int rel[3];
  NA_UNROLL
  for (int i = 2; i >= 0; i--) {
    int cells = 2 * p.axis[i].slots - 1;
    rel[i] = cell % cells - p.axis[i].slots + 1;
    cell /= cells;
  }
  r.seen = at.live;
  r.slot = 0;
  NA_UNROLL
  for (int i = 0; i < 3; i++) {
    NaSpan<1> q =
        na_queries<1>(p.axis[i], na_length(p, sizes, at.batch, i), at.o[i]);
    NaReach reach = na_reach(p.axis[i], q, 0);
    int position = q.position[0] + rel[i];
    r.seen = r.seen && na_sees(reach, position);
    r.key[i] = q.met.base + position * p.axis[i].dilation;
    r.slot = r.slot * p.axis[i].slots + position - reach.start;
  }
  NA_UNROLL
  for (int i = 0; i < 3; i++) {
    r.key[i] = r.seen ? r.key[i] : 0;
  }
  r.slot = r.seen ? r.slot : 0;
  return r;
}
