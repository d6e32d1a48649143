// SPDX-License-Identifier: MIT
//
// Fused backward, partial sums of the gradient of the relative position bias:
// the sum of ds over all pairs of a query and the key at one relative position.
// A threadgroup, which is one simdgroup, handles one relative position (grid
// x), one part (y) and one head (z). lse_delta is written by attn_bwd_q.metal.
#include "na_sum.h"

template <typename T, typename Off, int D, int DV, int G, int VEC>
[[kernel, max_total_threads_per_threadgroup(32)]] void attn_bwd_rpb(
    constant NaParams& p [[buffer(0)]],
    device const T* query [[buffer(1)]],
    device const T* key [[buffer(2)]],
    device const T* value [[buffer(3)]],
    device const T* rpb [[buffer(4)]],
    device const T* d_out [[buffer(5)]],
    device const float2* lse_delta [[buffer(6)]],
    device float* sums [[buffer(7)]],
    constant int* sizes [[buffer(8)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint3 grid [[threadgroups_per_grid]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  int lane = int(thread_index) % G, groups = 32 / G;
  int head = int(tg.z), kv = head / p.group, cell = int(tg.x);
  int outputs = p.axis[0].outputs * p.axis[1].outputs * p.axis[2].outputs;
  int c2 = 2 * p.axis[2].slots - 1, c1 = 2 * p.axis[1].slots - 1;
  float bias =
      NA_LOG2E *
      float(rpb[na_base(p, 3, 0, head) +
                na_at<Off>(p, 3, cell / c2 / c1, cell / c2 % c1, cell % c2)]);
  float sum = 0.0f;
  int2 part = na_part(p, outputs * p.batch, int(tg.y));
  for (int n = part.x; n < part.y; n += groups) {
    int row = n + int(thread_index) / G;
    NaRowAt at = na_row(p, sizes, 0, row, row < part.y);
    NaRelative rel = na_relative(p, sizes, at, cell);
    NaRow<NA_CHUNKS(D, G)> q, k;
    NaRow<NA_CHUNKS(DV, G)> dout, v;
    na_clear(q);
    na_clear(k);
    na_clear(dout);
    na_clear(v);
    float2 row_lse_delta = float2(0.0f);
    if (rel.seen) {
      na_load<D, G, VEC>(query + na_base(p, 0, at.batch, head) +
                             na_at<Off>(p, 0, at.o[0], at.o[1], at.o[2]),
                         lane,
                         q);
      na_load<D, G, VEC>(
          key + na_base(p, 1, at.batch, kv) +
              na_at<Off>(p, 1, rel.key[0], rel.key[1], rel.key[2]),
          lane,
          k);
      na_load<DV, G, VEC>(
          value + na_base(p, 2, at.batch, kv) +
              na_at<Off>(p, 2, rel.key[0], rel.key[1], rel.key[2]),
          lane,
          v);
      na_load<DV, G, VEC>(d_out + na_base(p, 4, at.batch, head) +
                              na_at<Off>(p, 4, at.o[0], at.o[1], at.o[2]),
                          lane,
                          dout);
      row_lse_delta = lse_delta[na_base(p, 5, at.batch, head) +
                                na_at<Off>(p, 5, at.o[0], at.o[1], at.o[2])];
    }
    na_scale(q, p.scale * NA_LOG2E);
    float s = na_group_sum<G>(na_dot(q, k)) + bias;
    float dp = na_group_sum<G>(na_dot(dout, v));
    sum += rel.seen && lane == 0
               ? fast::exp2(s - row_lse_delta.x) * (dp - row_lse_delta.y)
               : 0.0f;
  }
  sum = simd_sum(sum);
  if (thread_index == 0) {
    sums[(long(tg.y) * grid.z + head) * grid.x + cell] = sum;
  }
}
