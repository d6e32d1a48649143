// SPDX-License-Identifier: MIT
//
// For each key, the weighted sum of the rows of the queries that see it:
// gradients of keys (rows are queries) or values (rows are output gradients).
//
//   out = scale * sum(attn[query, slot of the key] * row[query])
#include "na_walk.h"

template <typename T, typename Off, int D, int G, int R, int VEC>
[[kernel, max_total_threads_per_threadgroup(NA_THREADS)]] void inv(
    constant NaParams& p [[buffer(0)]],
    device const T* attn [[buffer(1)]],
    device const T* row [[buffer(2)]],
    device T* out [[buffer(3)]],
    constant int* sizes [[buffer(4)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  NaPlace w = na_place<G>(p, tg, thread_index);
  int l0 = na_length(p, sizes, w.batch, 0),
      l1 = na_length(p, sizes, w.batch, 1);
  int l2 = na_length(p, sizes, w.batch, 2), lane = w.lane;
  NaSpan<1> k0 = na_keys<1>(p.axis[0], l0, w.unit[0]);
  NaSpan<1> k1 = na_keys<1>(p.axis[1], l1, w.unit[1]);
  NaSpan<R> k2 = na_keys<R>(p.axis[2], l2, w.unit[2]);
  NaSeen<1> s0 = na_seen(p.axis[0], l0, k0);
  NaSeen<1> s1 = na_seen(p.axis[1], l1, k1);
  NaSeen<R> s2 = na_seen(p.axis[2], l2, k2);
  NaRow<NA_CHUNKS(D, G)> sum[R];
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    na_clear(sum[r]);
  }
  for (int g = 0; g < p.group; g++) {
    device const T* attn_row =
        attn + na_base(p, 0, w.batch, w.head * p.group + g);
    device const T* x_row = row + na_base(p, 1, w.batch, w.head * p.group + g);
    for (int n0 = 0; n0 < s0.hi[0]; n0++) {
      for (int n1 = 0; n1 < s1.hi[0]; n1++) {
        int i0 = s0.first + n0 * s0.step, i1 = s1.first + n1 * s1.step;
        int start0 =
            na_reach(p.axis[0], k0.group, s0.position + n0 * s0.advance).start;
        int start1 =
            na_reach(p.axis[1], k1.group, s1.position + n1 * s1.advance).start;
        int slot = ((k0.position[0] - start0) * p.axis[1].slots +
                    k1.position[0] - start1) *
                   p.axis[2].slots;
        for (int n2 = 0; n2 < s2.end; n2++) {
          int i2 = s2.first + n2 * s2.step;
          int start2 =
              na_reach(p.axis[2], k2.group, s2.position + n2 * s2.advance)
                  .start;
          NaRow<NA_CHUNKS(D, G)> x;
          na_load<D, G, VEC>(x_row + na_at<Off>(p, 1, i0, i1, i2), lane, x);
          Off at = na_at<Off>(p, 0, i0, i1, i2) + slot;
          NA_UNROLL
          for (int r = 0; r < R; r++) {
            if (n2 >= s2.lo[r] && n2 < s2.hi[r]) {
              na_axpy(float(attn_row[at + k2.position[r] - start2]), x, sum[r]);
            }
          }
        }
      }
    }
  }
  out += na_base(p, 2, w.batch, w.head);
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    if (k0.inside[0] && k1.inside[0] && k2.inside[r]) {
      na_store<D, G, VEC>(
          out + na_at<Off>(p, 2, k0.index[0], k1.index[0], k2.index[r]),
          lane,
          sum[r],
          p.scale);
    }
  }
}
