// SPDX-License-Identifier: MIT
//
// Fused backward, gradients of keys and values: G lanes hold R neighbouring
// keys and walk the queries that see them, a closed-form interval along each
// axis.
//
//   for each query of each head of the group:
//     p = exp(scale * q.k + rpb - lse); ds = p * (dout.v - delta)
//     dv += p * dout; dk += scale * ds * q
#include "na_walk.h"

template <typename T,
          typename Off,
          int D,
          int DV,
          int G,
          int R,
          bool RPB,
          int VEC>
[[kernel, max_total_threads_per_threadgroup(NA_THREADS)]] void attn_bwd_kv(
    constant NaParams& p [[buffer(0)]],
    device const T* query [[buffer(1)]],
    device const T* key [[buffer(2)]],
    device const T* value [[buffer(3)]],
    device const T* rpb [[buffer(4)]],
    device const float* lse [[buffer(5)]],
    device const T* d_out [[buffer(6)]],
    device T* d_key [[buffer(7)]],
    device T* d_value [[buffer(8)]],
    device const float* delta [[buffer(9)]],
    constant int* sizes [[buffer(10)]],
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
  key += na_base(p, 1, w.batch, w.head);
  value += na_base(p, 2, w.batch, w.head);

  NaRow<NA_CHUNKS(D, G)> k[R], dk[R];
  NaRow<NA_CHUNKS(DV, G)> v[R], dv[R];
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    na_clear(k[r]);
    na_clear(v[r]);
    na_clear(dk[r]);
    na_clear(dv[r]);
    if (k0.live[0] && k1.live[0] && k2.live[r]) {
      na_load<D, G, VEC>(
          key + na_at<Off>(p, 1, k0.index[0], k1.index[0], k2.index[r]),
          lane,
          k[r]);
      na_load<DV, G, VEC>(
          value + na_at<Off>(p, 2, k0.index[0], k1.index[0], k2.index[r]),
          lane,
          v[r]);
    }
    na_scale(k[r], p.scale * NA_LOG2E);
  }
  for (int g = 0; g < p.group; g++) {
    int head = w.head * p.group + g;
    device const T* q_row = query + na_base(p, 0, w.batch, head);
    device const T* rpb_row = rpb + na_base(p, 3, 0, head);
    device const float* lse_row = lse + na_base(p, 4, w.batch, head);
    device const T* dout_row = d_out + na_base(p, 5, w.batch, head);
    device const float* delta_row = delta + na_base(p, 8, w.batch, head);
    for (int n0 = 0; n0 < s0.count; n0++) {
      for (int n1 = 0; n1 < s1.count; n1++) {
        int m0 = min(n0, s0.top), m1 = min(n1, s1.top);
        int i0 = s0.first + m0 * s0.step, i1 = s1.first + m1 * s1.step;
        bool row = n0 < s0.hi[0] && n1 < s1.hi[0];
        for (int n2 = 0; n2 < s2.count; n2++) {
          int m2 = min(n2, s2.top), i2 = s2.first + m2 * s2.step;
          NaRow<NA_CHUNKS(D, G)> q;
          NaRow<NA_CHUNKS(DV, G)> dout;
          na_load<D, G, VEC>(q_row + na_at<Off>(p, 0, i0, i1, i2), lane, q);
          na_load<DV, G, VEC>(
              dout_row + na_at<Off>(p, 5, i0, i1, i2), lane, dout);
          float top =
              max(NA_LOG2E * lse_row[na_at<Off>(p, 4, i0, i1, i2)], NA_LOWEST);
          float shift = delta_row[na_at<Off>(p, 8, i0, i1, i2)];
          NA_UNROLL
          for (int r = 0; r < R; r++) {
            bool seen = row && n2 >= s2.lo[r] && n2 < s2.hi[r];
            float s = na_group_sum<G>(na_dot(q, k[r]));
            float dp = na_group_sum<G>(na_dot(dout, v[r]));
            if (RPB && seen) {
              s += NA_LOG2E *
                   float(rpb_row[na_bias_at<Off>(
                       p,
                       3,
                       k0.position[0] - s0.position - m0 * s0.advance,
                       k1.position[0] - s1.position - m1 * s1.advance,
                       k2.position[r] - s2.position - m2 * s2.advance)]);
            }
            float weight = fast::exp2(s - top);
            weight = seen ? weight : 0.0f;
            na_axpy(weight, dout, dv[r]);
            na_axpy(weight * (dp - shift), q, dk[r]);
          }
        }
      }
    }
  }
  d_key += na_base(p, 6, w.batch, w.head);
  d_value += na_base(p, 7, w.batch, w.head);
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    if (!(k0.inside[0] && k1.inside[0] && k2.inside[r])) {
      continue;
    }
    if ((p.flags & NA_D_FIRST) != 0) {
      na_store<D, G, VEC>(
          d_key + na_at<Off>(p, 6, k0.index[0], k1.index[0], k2.index[r]),
          lane,
          dk[r],
          p.scale);
    }
    if ((p.flags & NA_D_SECOND) != 0) {
      na_store<DV, G, VEC>(
          d_value + na_at<Off>(p, 7, k0.index[0], k1.index[0], k2.index[r]),
          lane,
          dv[r],
          1.0f);
    }
  }
}
