// SPDX-License-Identifier: MIT
//
// Fused backward, gradient of the queries, "lanes" design; see na_gather.h.
// For the other gradients it stores in lse_delta, for each query, what is
// subtracted from logits and from the products dout.v: log2(e) * lse and delta.
#include "na_gather.h"

template <typename T,
          typename Off,
          int D,
          int DV,
          int G,
          int R1,
          int R2,
          int A,
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
    device float2* lse_delta [[buffer(12)]],
    constant int* sizes [[buffer(13)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  const int R = R1 * R2;
  NaTile w = na_tile<G, R1, R2, A>(p, tg, thread_index);
  int lane = w.lane;
  NaOwn<A> own = na_own<false, A>(p, sizes, w);
  int i0 = own.x[0].index, i1 = own.x[1].index, i2 = own.x[2].index;
  query += na_base(p, 0, w.batch, w.head);
  out += na_base(p, 6, w.batch, w.head);
  lse += na_base(p, 7, w.batch, w.head);
  d_out += na_base(p, 8, w.batch, w.head);
  d_lse += na_base(p, 9, w.batch, w.head);
  d_query += na_base(p, 10, w.batch, w.head);
  lse_delta += na_base(p, 11, w.batch, w.head);
  key += na_first<D, G, VEC>(lane);
  value += na_first<DV, G, VEC>(lane);
  extra_key += na_first<D, G, VEC>(lane);
  extra_value += na_first<DV, G, VEC>(lane);

  NaQueryGradient<D, DV, G, R> f;
  na_begin<6, VEC, Off>(f, p, own, lane, query, out, lse, d_out, d_lse);
  if (own.live && lane % (G / R) == 0) {
    lse_delta[na_at<Off>(p, 11, i0, i1, i2)] = float2(f.lse, f.delta);
  }
  if ((p.flags & NA_D_FIRST) == 0) {
    return;
  }
  NaKeyLine<T, Off> keys =
      na_keys_of<T, Off>(p, w.batch, w.head, own.x[2], key, value, rpb);
  NaPair<T, D, DV, G> x;
  NaLineRange span = na_line_range(na_group_range<G, R>(own.x[2]), own.x[2]);
  NaLines at = na_lines<G, R>(own);
  if (na_more(at)) {
    NaKeyLine<T, Off> line = na_key_line(p, keys, own, at);
    if (NA_AHEAD(A)) {
      na_read<VEC>(x, line, span.first, lane);
    }
    while (na_more(at)) {
      if (!NA_AHEAD(A)) {
        na_read<VEC>(x, line, span.first, lane);
      }
      NaLineRange c = span;
      c.seen = na_has(own, at) ? span.seen : 0u;
      at = na_after(at);
      NaKeyLine<T, Off> next = na_key_line(p, keys, own, at);
      na_gather_line<RPB, NA_AHEAD(A), VEC>(
          f, x, line, next, c, lane, NaNoSink());
      line = next;
    }
  }
  if (p.extra > 0) {
    NaKeyLine<T, Off> tokens =
        na_tokens_of<T, Off>(p, w.batch, w.head, extra_key, extra_value);
    NaLineRange c = na_line_range_of_tokens(p, own.live);
    na_read<VEC>(x, tokens, c.first, lane);
    na_gather_line<false, false, VEC>(
        f, x, tokens, tokens, c, lane, NaNoSink());
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
