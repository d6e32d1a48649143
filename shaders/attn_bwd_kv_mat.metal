// SPDX-License-Identifier: MIT
//
// Fused backward, gradients of keys and values, "matrix" design; see
// na_matrix.h. Rows are keys, columns are the queries that see them. lse_delta
// is written by attn_bwd_q.metal.
//
//   P^T = exp(K Q^T - lse); dV += P^T dO
//   dS^T = P^T (V dO^T - delta); dK += dS^T Q
#include "na_matrix.h"

template <typename T,
          typename Off,
          int D,
          int DV,
          int T1,
          int T2,
          bool RPB,
          int VEC>
[[kernel, max_total_threads_per_threadgroup(NA_THREADS)]] void attn_bwd_kv_mat(
    constant NaParams& p [[buffer(0)]],
    device const T* query [[buffer(1)]],
    device const T* key [[buffer(2)]],
    device const T* value [[buffer(3)]],
    device const T* rpb [[buffer(4)]],
    device const T* d_out [[buffer(5)]],
    device T* d_key [[buffer(6)]],
    device T* d_value [[buffer(7)]],
    device const float2* lse_delta [[buffer(8)]],
    constant int* sizes [[buffer(9)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  NaPlace w = na_place<32>(p, tg, thread_index);
  NaFragmentPos s = na_fragment_pos(uint(w.lane));
  NaRows<T1, T2> k = na_rows<T1, T2>(p, sizes, w, s.row, true);
  int i0 = k.live ? k.line[0].index : 0, i1 = k.live ? k.line[1].index : 0,
      i2 = k.live ? k.line[2].index : 0;
  NaPanel<D / 8> key_rows, dk;
  NaPanel<DV / 8> value_rows, dv;
  na_load_panel<VEC>(
      key_rows,
      key + na_base(p, 1, w.batch, w.head) + na_at<Off>(p, 1, i0, i1, i2),
      k.live,
      s);
  na_load_panel<VEC>(
      value_rows,
      value + na_base(p, 2, w.batch, w.head) + na_at<Off>(p, 2, i0, i1, i2),
      k.live,
      s);
  na_clear(dk);
  na_clear(dv);
  float scale = p.scale * NA_LOG2E;
  for (int g = 0; g < p.group; g++) {
    int head = w.head * p.group + g;
    device const T* q_head = query + na_base(p, 0, w.batch, head);
    device const T* dout_head = d_out + na_base(p, 4, w.batch, head);
    device const float2* lse_delta_head =
        lse_delta + na_base(p, 7, w.batch, head);
    for (int p0 = k.box[0].first; p0 < k.box[0].end; p0++) {
      for (int p1 = k.box[1].first; p1 < k.box[1].end; p1++) {
        int q0 = na_index(p, k.box[0], 0, p0),
            q1 = na_index(p, k.box[1], 1, p1);
        bool row =
            k.live && na_within(k.line[0], p0) && na_within(k.line[1], p1);
        for (int p2 = k.box[2].first; p2 < k.box[2].end; p2 += 8) {
          int last = k.box[2].end - 1, c = p2 + s.col, v = p2 + s.row;
          int c0 = na_index(p, k.box[2], 2, min(c, last)),
              c1 = na_index(p, k.box[2], 2, min(c + 1, last));
          int own = na_index(p, k.box[2], 2, min(v, last));
          bool has0 = c <= last, has1 = c + 1 <= last, has_own = v <= last;
          float2 x = na_products(key_rows,
                                 q_head + na_at<Off>(p, 0, q0, q1, c0),
                                 q_head + na_at<Off>(p, 0, q0, q1, c1),
                                 has0,
                                 has1,
                                 s);
          float2 dp = na_products(value_rows,
                                  dout_head + na_at<Off>(p, 4, q0, q1, c0),
                                  dout_head + na_at<Off>(p, 4, q0, q1, c1),
                                  has0,
                                  has1,
                                  s);
          float2 weight = float2(0.0f), ds = float2(0.0f);
          NA_UNROLL
          for (int j = 0; j < 2; j++) {
            if (!row || !na_within(k.line[2], c + j)) {
              continue;
            }
            int q2 = j == 0 ? c0 : c1;
            float bias = 0.0f;
            if (RPB) {
              bias = float(rpb[na_base(p, 3, 0, head) +
                               na_bias_at<Off>(p,
                                               3,
                                               k.line[0].position - p0,
                                               k.line[1].position - p1,
                                               k.line[2].position - c - j)]);
            }
            float2 row_lse_delta = lse_delta_head[na_at<Off>(p, 7, q0, q1, q2)];
            weight[j] =
                fast::exp2(fma(x[j], scale, NA_LOG2E * bias) - row_lse_delta.x);
            ds[j] = weight[j] * (dp[j] - row_lse_delta.y);
          }
          na_accumulate<VEC>(dv,
                             weight,
                             dout_head + na_at<Off>(p, 4, q0, q1, own),
                             has_own,
                             s);
          na_accumulate<VEC>(
              dk, ds, q_head + na_at<Off>(p, 0, q0, q1, own), has_own, s);
        }
      }
    }
  }
  if (!k.inside) {
    return;
  }
  if ((p.flags & NA_D_FIRST) != 0) {
    Off at =
        na_at<Off>(p, 5, k.line[0].index, k.line[1].index, k.line[2].index);
    na_store_panel(dk, d_key + na_base(p, 5, w.batch, w.head) + at, p.scale, s);
  }
  if ((p.flags & NA_D_SECOND) != 0) {
    Off at =
        na_at<Off>(p, 6, k.line[0].index, k.line[1].index, k.line[2].index);
    na_store_panel(dv, d_value + na_base(p, 6, w.batch, w.head) + at, 1.0f, s);
  }
}
