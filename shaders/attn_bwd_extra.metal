// SPDX-License-Identifier: MIT
//
// Fused backward, partial sums of the gradients of additional keys and values:
//
//   p = exp(scale * q.k - lse); dv += p * dout; dk += p * (dout.v - delta) * q
//
// A threadgroup, which is one simdgroup, handles one token (grid x), one part
// (y), and one sample and key/value head (z). lse_delta is written by
// attn_bwd_q.metal.
#include "na_sum.h"

template <typename T, typename Off, int D, int DV, int G, int VEC>
[[kernel, max_total_threads_per_threadgroup(32)]] void attn_bwd_extra(
    constant NaParams& p [[buffer(0)]],
    device const T* query [[buffer(1)]],
    device const T* extra_key [[buffer(2)]],
    device const T* extra_value [[buffer(3)]],
    device const T* d_out [[buffer(4)]],
    device const float2* lse_delta [[buffer(5)]],
    device float* key_sums [[buffer(6)]],
    device float* value_sums [[buffer(7)]],
    constant int* sizes [[buffer(8)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  int lane = int(thread_index) % G, groups = 32 / G;
  int batch = int(tg.z) / p.heads, kv = int(tg.z) % p.heads, token = int(tg.x);
  int outputs = p.axis[0].outputs * p.axis[1].outputs * p.axis[2].outputs;
  NaRow<NA_CHUNKS(D, G)> k, dk;
  NaRow<NA_CHUNKS(DV, G)> v, dv;
  na_load<D, G, VEC>(
      extra_key + na_base(p, 1, batch, kv) + na_at<Off>(p, 1, 0, 0, token),
      lane,
      k);
  na_load<DV, G, VEC>(
      extra_value + na_base(p, 2, batch, kv) + na_at<Off>(p, 2, 0, 0, token),
      lane,
      v);
  na_scale(k, p.scale * NA_LOG2E);
  na_clear(dk);
  na_clear(dv);
  int2 part = na_part(p, outputs, int(tg.y));
  for (int g = 0; g < p.group; g++) {
    int head = kv * p.group + g;
    for (int n = part.x; n < part.y; n += groups) {
      int row = n + int(thread_index) / G;
      NaRowAt at = na_row(p, sizes, batch, row, row < part.y);
      NaRow<NA_CHUNKS(D, G)> q;
      NaRow<NA_CHUNKS(DV, G)> dout;
      na_clear(q);
      na_clear(dout);
      float2 row_lse_delta = float2(0.0f);
      if (at.live) {
        na_load<D, G, VEC>(query + na_base(p, 0, batch, head) +
                               na_at<Off>(p, 0, at.o[0], at.o[1], at.o[2]),
                           lane,
                           q);
        na_load<DV, G, VEC>(d_out + na_base(p, 3, batch, head) +
                                na_at<Off>(p, 3, at.o[0], at.o[1], at.o[2]),
                            lane,
                            dout);
        row_lse_delta = lse_delta[na_base(p, 4, batch, head) +
                                  na_at<Off>(p, 4, at.o[0], at.o[1], at.o[2])];
      }
      float s = na_group_sum<G>(na_dot(q, k));
      float dp = na_group_sum<G>(na_dot(dout, v));
      if (at.live) {
        float weight = fast::exp2(s - row_lse_delta.x);
        na_axpy(weight, dout, dv);
        na_axpy(weight * (dp - row_lse_delta.y), q, dk);
      }
    }
  }
  na_sum_groups<G>(dk);
  na_sum_groups<G>(dv);
  if (int(thread_index) < G) {
    long sum =
        ((long(tg.y) * p.batch + batch) * p.extra + token) * p.heads + kv;
    na_store<D, G, VEC>(key_sums + sum * D, lane, dk, p.scale);
    na_store<DV, G, VEC>(value_sums + sum * DV, lane, dv, 1.0f);
  }
}
