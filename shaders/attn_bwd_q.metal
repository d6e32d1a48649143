// SPDX-License-Identifier: MIT
//
// Fused backward, gradient of the queries, and delta for the other gradients,
// "lanes" design; see na_tile.h.
//
//   delta = dout.out - dlse
//   for each key: p = exp(scale * q.k + rpb - lse); ds = p * (dout.v - delta)
//                 dq += scale * ds * k
#include "na_tile.h"

template <int D, int DV, int G, int R>
struct NaQueryGradient {
  NaRow<NA_CHUNKS(D, G)> q[R], dq[R];
  NaRow<NA_CHUNKS(DV, G)> dout[R];
  float lse, delta;  // of this lane's own query
};

// A key and its value.
template <int D, int DV, int G>
struct NaPair {
  NaRow<NA_CHUNKS(D, G)> k;
  NaRow<NA_CHUNKS(DV, G)> v;
};

template <int VEC, int D, int DV, int G, typename T, typename Off>
inline void na_read(thread NaPair<D, DV, G>& x,
                    NaKeyLine<T, Off> line,
                    int n,
                    int lane) {
  na_load<D, G, VEC>(line.key + Off(n) * line.key_step, lane, x.k);
  na_load<DV, G, VEC>(line.value + Off(n) * line.value_step, lane, x.v);
}

// Takes key n.
template <bool RPB, int D, int DV, int G, int R, typename T, typename Off>
inline void na_gather(thread NaQueryGradient<D, DV, G, R>& f,
                      thread const NaPair<D, DV, G>& x,
                      NaKeyLine<T, Off> line,
                      NaSpanOf c,
                      int n) {
  NaSlots<R> logits, products;
  na_dots(f.q, x.k, logits);
  na_dots(f.dout, x.v, products);
  float s = na_own_sum<G>(logits), dp = na_own_sum<G>(products);
  bool seen = na_sees_at(c, n);
  if (RPB && seen) {
    s = fma(NA_LOG2E, float(line.bias[Off(n) * line.bias_step]), s);
  }
  float ds = fast::exp2(s - f.lse) * (dp - f.delta);
  ds = seen ? ds : 0.0f;
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    na_axpy(na_slot<G, R>(ds, i), x.k, f.dq[i]);
  }
}

// Takes the keys of a line; a key is under way while another is worked on.
template <bool RPB,
          int VEC,
          int D,
          int DV,
          int G,
          int R,
          typename T,
          typename Off>
inline void na_gather_line(thread NaQueryGradient<D, DV, G, R>& f,
                           NaKeyLine<T, Off> line,
                           NaSpanOf c,
                           int lane) {
  NaPair<D, DV, G> x, y;
  na_read<VEC>(x, line, c.first, lane);
  for (int t = 0; t < c.count; t += 2) {
    int n = c.first + t;
    na_read<VEC>(y, line, min(n + 1, c.top), lane);
    na_gather<RPB>(f, x, line, c, n);
    na_read<VEC>(x, line, min(n + 2, c.top), lane);
    na_gather<RPB>(f, y, line, c, n + 1);
  }
}

template <typename T,
          typename Off,
          int D,
          int DV,
          int G,
          int R1,
          int R2,
          bool RPB,
          int VEC>
[[kernel, max_total_threads_per_threadgroup(384)]] void attn_bwd_q(
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
    device float* delta [[buffer(12)]],
    constant int* sizes [[buffer(13)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  const int R = R1 * R2;
  NaTile w = na_tile<G, R1, R2>(p, tg, thread_index);
  int lane = w.lane;
  NaOwn own = na_own<false>(p, sizes, w);
  int i0 = own.x[0].index, i1 = own.x[1].index, i2 = own.x[2].index;
  query += na_base(p, 0, w.batch, w.head);
  out += na_base(p, 6, w.batch, w.head);
  lse += na_base(p, 7, w.batch, w.head);
  d_out += na_base(p, 8, w.batch, w.head);
  d_lse += na_base(p, 9, w.batch, w.head);
  d_query += na_base(p, 10, w.batch, w.head);
  delta += na_base(p, 11, w.batch, w.head);

  NaQueryGradient<D, DV, G, R> f;
  NaSlots<R> parts;
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    NaRow<NA_CHUNKS(DV, G)> o;
    na_clear(f.dq[i]);
    na_load<D, G, VEC>(
        query + na_row_at<Off, G, R>(p, 0, own, own.live, i), lane, f.q[i]);
    na_load<DV, G, VEC>(
        out + na_row_at<Off, G, R>(p, 6, own, own.live, i), lane, o);
    na_load<DV, G, VEC>(
        d_out + na_row_at<Off, G, R>(p, 8, own, own.live, i), lane, f.dout[i]);
    na_scale(f.q[i], p.scale * NA_LOG2E);
    parts.v[i] = na_dot(o, f.dout[i]);
  }
  f.delta = na_own_sum<G>(parts);
  f.lse = 0.0f;
  if (own.live) {
    f.lse = max(NA_LOG2E * lse[na_at<Off>(p, 7, i0, i1, i2)], NA_LOWEST);
    if ((p.flags & NA_D_LSE) != 0) {
      f.delta -= d_lse[na_at<Off>(p, 9, i0, i1, i2)];
    }
    if (lane % (G / R) == 0) {
      delta[na_at<Off>(p, 11, i0, i1, i2)] = f.delta;
    }
  }
  if ((p.flags & NA_D_FIRST) == 0) {
    return;
  }
  NaKeyLine<T, Off> keys =
      na_keys_of<T, Off>(p, w.batch, w.head, own.x[2], key, value, rpb);
  NaSpanOf span = na_span_of(na_group_range<G, R>(own.x[2]), own.x[2]);
  for (NaLines at = na_lines<G, R>(p, own); na_more(at); at = na_after(at)) {
    NaSpanOf c = span;
    c.seen = na_has(own, at) ? span.seen : 0u;
    na_gather_line<RPB, VEC>(f, na_key_line(p, keys, own, at), c, lane);
  }
  if (p.extra > 0) {
    NaKeyLine<T, Off> tokens =
        na_tokens_of<T, Off>(p, w.batch, w.head, extra_key, extra_value);
    na_gather_line<false, VEC>(f, tokens, na_span_of_tokens(p, own.live), lane);
  }
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    Off row = na_row_at<Off, G, R>(p, 10, own, own.inside, i);
    if (na_slot<G, R>(int(own.inside), i) == 0) {
      continue;
    }
    if (R > 1) {
      na_store<D, G, VEC>(d_query + row, lane, f.dq[i], p.scale);
    } else {
      na_store_cell<Off, D, G, VEC>(
          p, 10, d_query, i0, i1, i2, lane, f.dq[0], p.scale);
    }
  }
}
