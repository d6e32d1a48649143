// SPDX-License-Identifier: MIT
//
// Fused forward, "matrix" design; see na_matrix.h. The algorithm is that of
// attn_fwd.metal, for 8 queries and 8 keys at a time:
//
//   S = Q K^T; m' = max(m, rows of S); P = exp(S - m')
//   l = exp(m - m') l + rows of P; O = exp(m - m') O + P V
#include "na_matrix.h"

template <int D, int DV>
struct NaForwardMatrix {
  NaPanel<D / 8> q;
  NaPanel<DV / 8> o;
  float m, l;  // of this lane's row; l is this lane's part of the sum
};

// What a lane needs of eight keys: those of its two columns, and the value with
// the number of its row.
template <typename T>
struct NaEight {
  device const T *key0, *key1, *value;
  bool has0, has1, has_value;  // whether they exist
  bool seen0, seen1;           // whether this lane's query sees them
  float bias0, bias1;
};

template <int VEC, int D, int DV, typename T>
inline void na_attend_eight(thread NaForwardMatrix<D, DV>& f,
                            float scale,
                            thread const NaEight<T>& e,
                            NaFragmentPos s) {
  float2 x = na_products(f.q, e.key0, e.key1, e.has0, e.has1, s);
  x = fma(x, float2(scale), float2(e.bias0, e.bias1));
  float top = max(e.seen0 ? x.x : NA_LOWEST, e.seen1 ? x.y : NA_LOWEST);
  top = max(f.m, na_row_max(top));
  float fade = fast::exp2(f.m - top);
  x.x = e.seen0 ? fast::exp2(x.x - top) : 0.0f;
  x.y = e.seen1 ? fast::exp2(x.y - top) : 0.0f;
  f.m = top;
  f.l = fma(f.l, fade, x.x + x.y);
  NA_UNROLL
  for (int i = 0; i < DV / 8; i++) {
    na_elements(f.o.m[i]) *= fade;
  }
  na_accumulate<VEC>(f.o, x, e.value, e.has_value, s);
}

template <typename T,
          typename Off,
          int D,
          int DV,
          int T1,
          int T2,
          bool RPB,
          int VEC>
[[kernel, max_total_threads_per_threadgroup(NA_THREADS)]] void attn_fwd_mat(
    constant NaParams& p [[buffer(0)]],
    device const T* query [[buffer(1)]],
    device const T* key [[buffer(2)]],
    device const T* value [[buffer(3)]],
    device const T* rpb [[buffer(4)]],
    device const T* extra_key [[buffer(5)]],
    device const T* extra_value [[buffer(6)]],
    device T* out [[buffer(7)]],
    device float* lse [[buffer(8)]],
    constant int* sizes [[buffer(9)]],
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

  NaForwardMatrix<D, DV> f;
  f.m = NA_LOWEST;
  f.l = 0.0f;
  na_clear(f.o);
  Off at = q.live ? na_at<Off>(
                        p, 0, q.line[0].index, q.line[1].index, q.line[2].index)
                  : Off(0);
  na_load_panel<VEC>(f.q, query + at, q.live, s);
  float scale = p.scale * NA_LOG2E;
  for (int p0 = q.box[0].first; p0 < q.box[0].end; p0++) {
    for (int p1 = q.box[1].first; p1 < q.box[1].end; p1++) {
      int k0 = na_index(p, q.box[0], 0, p0), k1 = na_index(p, q.box[1], 1, p1);
      bool row = q.live && na_within(q.line[0], p0) && na_within(q.line[1], p1);
      for (int p2 = q.box[2].first; p2 < q.box[2].end; p2 += 8) {
        int last = q.box[2].end - 1, c = p2 + s.col, v = p2 + s.row;
        NaEight<T> e;
        e.has0 = c <= last;
        e.has1 = c + 1 <= last;
        e.has_value = v <= last;
        e.seen0 = row && na_within(q.line[2], c);
        e.seen1 = row && na_within(q.line[2], c + 1);
        e.key0 =
            key +
            na_at<Off>(p, 1, k0, k1, na_index(p, q.box[2], 2, min(c, last)));
        e.key1 =
            key + na_at<Off>(
                      p, 1, k0, k1, na_index(p, q.box[2], 2, min(c + 1, last)));
        e.value =
            value +
            na_at<Off>(p, 2, k0, k1, na_index(p, q.box[2], 2, min(v, last)));
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
        na_attend_eight<VEC>(f, scale, e, s);
      }
    }
  }
  for (int token = 0; token < p.extra; token += 8) {
    int last = p.extra - 1, c = token + s.col, v = token + s.row;
    NaEight<T> e;
    e.has0 = c <= last;
    e.has1 = c + 1 <= last;
    e.has_value = v <= last;
    e.seen0 = q.live && e.has0;
    e.seen1 = q.live && e.has1;
    e.key0 = extra_key + na_at<Off>(p, 4, 0, 0, min(c, last));
    e.key1 = extra_key + na_at<Off>(p, 4, 0, 0, min(c + 1, last));
    e.value = extra_value + na_at<Off>(p, 5, 0, 0, min(v, last));
    e.bias0 = 0.0f;
    e.bias1 = 0.0f;
    na_attend_eight<VEC>(f, scale, e, s);
  }
  float l = na_row_sum(f.l);
  if (!q.inside) {
    return;
  }
  at = na_at<Off>(p, 6, q.line[0].index, q.line[1].index, q.line[2].index);
  na_store_panel(f.o,
                 out + na_base(p, 6, w.batch, w.head) + at,
                 l != 0.0f ? 1.0f / l : 0.0f,
                 s);
  if ((p.flags & NA_LSE) != 0 && s.col == 0) {
    at = na_at<Off>(p, 7, q.line[0].index, q.line[1].index, q.line[2].index);
    lse[na_base(p, 7, w.batch, w.head) + at] =
        l != 0.0f ? NA_LN2 * (f.m + log2(l)) : -INFINITY;
  }
}
