// SPDX-License-Identifier: MIT
//
// Weighted sums of the rows that each query's window covers, and of additional
// rows: outputs, or the gradient of queries.
//
//   out = scale * sum(attn[t] * row[t])
#include "na_walk.h"

template <typename T, typename Off, int D, int G, int R, int VEC>
[[kernel, max_total_threads_per_threadgroup(NA_THREADS)]] void av(
    constant NaParams& p [[buffer(0)]],
    device const T* attn [[buffer(1)]],
    device const T* row [[buffer(2)]],
    device const T* extra_row [[buffer(3)]],
    device T* out [[buffer(4)]],
    constant int* sizes [[buffer(5)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  NaPlace w = na_place<G>(p, tg, thread_index);
  int kv = w.head / p.group, lane = w.lane;
  NaSpan<1> q0 =
      na_queries<1>(p.axis[0], na_length(p, sizes, w.batch, 0), w.unit[0]);
  NaSpan<1> q1 =
      na_queries<1>(p.axis[1], na_length(p, sizes, w.batch, 1), w.unit[1]);
  NaSpan<R> q2 =
      na_queries<R>(p.axis[2], na_length(p, sizes, w.batch, 2), w.unit[2]);
  NaUnion<1> u0 = na_union(p.axis[0], q0);
  NaUnion<1> u1 = na_union(p.axis[1], q1);
  NaUnion<R> u2 = na_union(p.axis[2], q2);
  attn += na_base(p, 0, w.batch, w.head);
  row += na_base(p, 1, w.batch, kv);
  extra_row += na_base(p, 2, w.batch, kv);
  out += na_base(p, 3, w.batch, w.head);

  NaRow<NA_CHUNKS(D, G)> sum[R];
  Off at[R];
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    na_clear(sum[r]);
    at[r] = na_at<Off>(p, 0, q0.index[0], q1.index[0], q2.index[r]);
  }
  for (int p0 = u0.reach[0].lo; p0 < u0.reach[0].hi; p0++) {
    for (int p1 = u1.reach[0].lo; p1 < u1.reach[0].hi; p1++) {
      int k0 = q0.met.base + p0 * p.axis[0].dilation,
          k1 = q1.met.base + p1 * p.axis[1].dilation;
      int slot = ((p0 - u0.reach[0].start) * p.axis[1].slots + p1 -
                  u1.reach[0].start) *
                 p.axis[2].slots;
      for (int p2 = u2.first; p2 < u2.end; p2++) {
        NaRow<NA_CHUNKS(D, G)> y;
        na_load<D, G, VEC>(
            row +
                na_at<Off>(p, 1, k0, k1, q2.met.base + p2 * p.axis[2].dilation),
            lane,
            y);
        NA_UNROLL
        for (int r = 0; r < R; r++) {
          if (na_sees(u2.reach[r], p2)) {
            na_axpy(
                float(attn[at[r] + slot + p2 - u2.reach[r].start]), y, sum[r]);
          }
        }
      }
    }
  }
  for (int e = 0; e < p.extra; e++) {
    NaRow<NA_CHUNKS(D, G)> y;
    na_load<D, G, VEC>(extra_row + na_at<Off>(p, 2, 0, 0, e), lane, y);
    NA_UNROLL
    for (int r = 0; r < R; r++) {
      if (q0.live[0] && q1.live[0] && q2.live[r]) {
        na_axpy(float(attn[at[r] + p.slots + e]), y, sum[r]);
      }
    }
  }
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    if (!(q0.inside[0] && q1.inside[0] && q2.inside[r])) {
      continue;
    }
    if ((p.flags & NA_CELLS) == 0) {
      na_store<D, G, VEC>(
          out + na_at<Off>(p, 3, q0.index[0], q1.index[0], q2.index[r]),
          lane,
          sum[r],
          p.scale);
    } else {
      na_store_cell<Off, D, G, VEC>(p,
                                    3,
                                    out,
                                    q0.index[0],
                                    q1.index[0],
                                    q2.index[r],
                                    lane,
                                    sum[r],
                                    p.scale);
    }
  }
}
