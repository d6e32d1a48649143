// SPDX-License-Identifier: MIT
//
// Fused backward, gradient of the queries, "matrix" design; see na_matrix.h.
// lse_delta is as in attn_bwd_q.metal.
//
//   P = exp(Q K^T - lse); dS = P (dO V^T - delta); dQ += dS K
#include "na_matrix.h"

template <int D, int DV>
struct NaQueryGradientMatrix {
  NaPanel<D / 8> q, dq;
  NaPanel<DV / 8> dout;
  float lse, delta;  // of this lane's row
};

// What a lane needs of eight keys: those of its two columns, and the key with
// the number of its row.
template <typename T>
struct NaEight {
  device const T *key0, *key1, *value0, *value1, *key;
  bool has0, has1, has_key;  // whether they exist
  bool seen0, seen1;         // whether the query of this lane's row sees them
  float bias0, bias1;
};

template <int VEC, int D, int DV, typename T>
inline void na_gather_eight(thread NaQueryGradientMatrix<D, DV>& f,
                            float scale,
                            thread const NaEight<T>& e,
                            NaFragmentPos s) {
  float2 x = na_products(f.q, e.key0, e.key1, e.has0, e.has1, s);
  float2 dp = na_products(f.dout, e.value0, e.value1, e.has0, e.has1, s);
  x = fma(x, float2(scale), float2(e.bias0, e.bias1));
  x.x = e.seen0 ? fast::exp2(x.x - f.lse) * (dp.x - f.delta) : 0.0f;
  x.y = e.seen1 ? fast::exp2(x.y - f.lse) * (dp.y - f.delta) : 0.0f;
  na_accumulate<VEC>(f.dq, x, e.key, e.has_key, s);
}

template <typename T,
          typename Off,
          int D,
          int DV,
          int T1,
          int T2,
          bool RPB,
          int VEC>
[[kernel, max_total_threads_per_threadgroup(NA_THREADS)]] void attn_bwd_q_mat(
    constant NaParams& p [[buffer(0)]],
    device const T* query [[buffer(1)]],
    device const T* key [[buffer(2)]],
    device const T* value [[buffer(3)]],
    device const T* rpb [[buffer(4)]],
    device const T* extra_key [[buffer(5)]],
    device const T* extra_value [[buffer(6)]],
    device const T* out [[buffer(7)]],
    device const float* lse [[buffer(8)]],
    device const T* d_out [[buffer(9)]],
    device const float* d_lse [[buffer(10)]],
    device T* d_query [[buffer(11)]],
    device float2* lse_delta [[buffer(12)]],
    constant int* sizes [[buffer(13)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  NaPlace w = na_place<32>(p, tg, thread_index);
  NaFragmentPos s = na_fragment_pos(uint(w.lane));
  int kv = w.head / p.group;
  NaRows<T1, T2> q = na_rows<T1, T2>(p, sizes, w, s.row, false);
  query += na_base(p, 0, w.batch, w.head);
  key += na_base(p, 1, w.batch, kv);
  value += na_base(p, 2, w.batch, kv);
  rpb += na_base(p, 3, 0, w.head);
  extra_key += na_base(p, 4, w.batch, kv);
  extra_value += na_base(p, 5, w.batch, kv);
  out += na_base(p, 6, w.batch, w.head);
  lse += na_base(p, 7, w.batch, w.head);
  d_out += na_base(p, 8, w.batch, w.head);
  d_lse += na_base(p, 9, w.batch, w.head);
  lse_delta += na_base(p, 11, w.batch, w.head);

  int i0 = q.live ? q.line[0].index : 0, i1 = q.live ? q.line[1].index : 0,
      i2 = q.live ? q.line[2].index : 0;
  NaQueryGradientMatrix<D, DV> f;
  na_load_panel<VEC>(f.q, query + na_at<Off>(p, 0, i0, i1, i2), q.live, s);
  na_load_panel<VEC>(f.dout, d_out + na_at<Off>(p, 8, i0, i1, i2), q.live, s);
  na_clear(f.dq);
  float part = 0.0f;
  NA_UNROLL
  for (int i = 0; i < DV / 8; i++) {
    float2 o = na_pair<VEC>(out + na_at<Off>(p, 6, i0, i1, i2) + 8 * i + s.col,
                            q.live);
    part += dot(o, na_elements(f.dout.m[i]));
  }
  f.delta = na_row_sum(part);
  f.lse = 0.0f;
  if (q.live) {
    f.lse = na_offset(lse[na_at<Off>(p, 7, i0, i1, i2)]);
    if ((p.flags & NA_D_LSE) != 0) {
      f.delta -= d_lse[na_at<Off>(p, 9, i0, i1, i2)];
    }
    if (s.col == 0) {
      lse_delta[na_at<Off>(p, 11, i0, i1, i2)] = float2(f.lse, f.delta);
    }
  }
  if ((p.flags & NA_D_FIRST) == 0) {
    return;
  }
  float scale = p.scale * NA_LOG2E;
  for (int p0 = q.box[0].first; p0 < q.box[0].end; p0++) {
    for (int p1 = q.box[1].first; p1 < q.box[1].end; p1++) {
      int k0 = na_index(p, q.box[0], 0, p0), k1 = na_index(p, q.box[1], 1, p1);
      bool row = q.live && na_within(q.line[0], p0) && na_within(q.line[1], p1);
      for (int p2 = q.box[2].first; p2 < q.box[2].end; p2 += 8) {
        int last = q.box[2].end - 1, c = p2 + s.col, v = p2 + s.row;
        int c0 = na_index(p, q.box[2], 2, min(c, last)),
            c1 = na_index(p, q.box[2], 2, min(c + 1, last));
        NaEight<T> e;
        e.has0 = c <= last;
        e.has1 = c + 1 <= last;
        e.has_key = v <= last;
        e.seen0 = row && na_within(q.line[2], c);
        e.seen1 = row && na_within(q.line[2], c + 1);
        e.key0 = key + na_at<Off>(p, 1, k0, k1, c0);
        e.key1 = key + na_at<Off>(p, 1, k0, k1, c1);
        e.value0 = value + na_at<Off>(p, 2, k0, k1, c0);
        e.value1 = value + na_at<Off>(p, 2, k0, k1, c1);
        e.key = key + na_at<Off>(
                          p, 1, k0, k1, na_index(p, q.box[2], 2, min(v, last)));
        e.bias0 = 0.0f;
        e.bias1 = 0.0f;
        if (RPB && row) {
          device const T* bias = rpb + na_bias_at<Off>(p,
                                                       3,
                                                       p0 - q.line[0].position,
                                                       p1 - q.line[1].position,
                                                       c - q.line[2].position);
          e.bias0 = e.seen0 ? NA_LOG2E * float(bias[0]) : 0.0f;
          e.bias1 = e.seen1 ? NA_LOG2E * float(bias[p.stride[3][3]]) : 0.0f;
        }
        na_gather_eight<VEC>(f, scale, e, s);
      }
    }
  }
  for (int token = 0; token < p.extra; token += 8) {
    int last = p.extra - 1, c = token + s.col, v = token + s.row;
    NaEight<T> e;
    e.has0 = c <= last;
    e.has1 = c + 1 <= last;
    e.has_key = v <= last;
    e.seen0 = q.live && e.has0;
    e.seen1 = q.live && e.has1;
    e.key0 = extra_key + na_at<Off>(p, 4, 0, 0, min(c, last));
    e.key1 = extra_key + na_at<Off>(p, 4, 0, 0, min(c + 1, last));
    e.value0 = extra_value + na_at<Off>(p, 5, 0, 0, min(c, last));
    e.value1 = extra_value + na_at<Off>(p, 5, 0, 0, min(c + 1, last));
    e.key = extra_key + na_at<Off>(p, 4, 0, 0, min(v, last));
    e.bias0 = 0.0f;
    e.bias1 = 0.0f;
    na_gather_eight<VEC>(f, scale, e, s);
  }
  if (q.inside) {
    Off at =
        na_at<Off>(p, 10, q.line[0].index, q.line[1].index, q.line[2].index);
    na_store_panel(
        f.dq, d_query + na_base(p, 10, w.batch, w.head) + at, p.scale, s);
  }
}
