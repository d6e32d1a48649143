// SPDX-License-Identifier: MIT
//
// Fused backward, gradients of keys and values, "lanes" design; see na_tile.h.
// Rows are keys. Each walks the queries that see it, which form a closed-form
// interval along each axis.
//
//   for each query of each head of the group:
//     p = exp(scale * q.k + rpb - lse); ds = p * (dout.v - delta)
//     dv += p * dout; dk += scale * ds * q
#include "na_tile.h"

template <int D, int DV, int G, int R>
struct NaKeyGradient {
  NaRow<NA_CHUNKS(D, G)> k[R], dk[R];
  NaRow<NA_CHUNKS(DV, G)> v[R], dv[R];
};

// A line of queries: addresses of the lane's first channel at n = 0, and the
// steps between neighbors. bias belongs to the lane's own key; for queries that
// do not see this key it may lie outside the tensor. lse_delta is written by
// attn_bwd_q.metal.
template <typename T, typename Off>
struct NaQueryLine {
  device const T *query, *d_out, *bias;
  device const float2* lse_delta;
  Off query_step, d_out_step, lse_delta_step, bias_step;
};

// A query and the gradient of its output, loaded ahead of use.
template <typename T, int D, int DV, int G>
struct NaQuery {
  NaPacked<T, NA_CHUNKS(D, G)> q;
  NaPacked<T, NA_CHUNKS(DV, G)> dout;
  float2 lse_delta;
};

template <int VEC, int D, int DV, int G, typename T, typename Off>
inline void na_read(thread NaQuery<T, D, DV, G>& x,
                    NaQueryLine<T, Off> line,
                    int n,
                    int lane) {
  na_fetch<D, G, VEC>(line.query + Off(n) * line.query_step, lane, x.q);
  na_fetch<DV, G, VEC>(line.d_out + Off(n) * line.d_out_step, lane, x.dout);
  x.lse_delta = line.lse_delta[Off(n) * line.lse_delta_step];
}

// Adds query n to the gradients.
template <bool RPB, int D, int DV, int G, int R, typename T, typename Off>
inline void na_scatter(thread NaKeyGradient<D, DV, G, R>& f,
                       thread const NaQuery<T, D, DV, G>& x,
                       NaQueryLine<T, Off> line,
                       NaLineRange c,
                       int n) {
  NaRow<NA_CHUNKS(D, G)> q;
  NaRow<NA_CHUNKS(DV, G)> dout;
  na_unpack<T>(x.q, q);
  na_unpack<T>(x.dout, dout);
  NaSlots<R> logits, products;
  na_dots(f.k, q, logits);
  na_dots(f.v, dout, products);
  float s = na_own_sum<G>(logits), dp = na_own_sum<G>(products);
  bool seen = na_sees_at(c, n);
  if (RPB && seen) {
    s = fma(NA_LOG2E, float(line.bias[Off(n) * line.bias_step]), s);
  }
  float weight = fast::exp2(s - x.lse_delta.x);
  float ds = seen ? weight * (dp - x.lse_delta.y) : 0.0f;
  weight = seen ? weight : 0.0f;
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    na_axpy(na_slot<G, R>(weight, i), dout, f.dv[i]);
    na_axpy(na_slot<G, R>(ds, i), q, f.dk[i]);
  }
}

// Adds the queries of a line. x holds the first one; each next query is loaded
// while one is processed. With AHEAD, the first query of the line `next` is in
// x on return.
template <bool RPB,
          bool AHEAD,
          int VEC,
          int D,
          int DV,
          int G,
          int R,
          typename T,
          typename Off>
inline void na_scatter_line(thread NaKeyGradient<D, DV, G, R>& f,
                            thread NaQuery<T, D, DV, G>& x,
                            NaQueryLine<T, Off> line,
                            NaQueryLine<T, Off> next,
                            NaLineRange c,
                            int lane) {
  NaQuery<T, D, DV, G> y;
  int n = c.first;
  for (int pairs = c.count / 2; pairs > 0; pairs--, n += 2) {
    na_read<VEC>(y, line, min(n + 1, c.top), lane);
    na_scatter<RPB>(f, x, line, c, n);
    bool more = !AHEAD || n + 2 < c.first + c.count;
    na_read<VEC>(
        x, more ? line : next, more ? min(n + 2, c.top) : c.first, lane);
    na_scatter<RPB>(f, y, line, c, n + 1);
  }
  if (c.count % 2 != 0) {
    na_scatter<RPB>(f, x, line, c, n);
    if (AHEAD) {
      na_read<VEC>(x, next, c.first, lane);
    }
  }
}

// Line w of the tensors at buffers 1, 4, 5 and 8, whose first elements x has.
template <typename T, typename Off, int A>
inline NaQueryLine<T, Off> na_query_line(constant NaParams& p,
                                         NaQueryLine<T, Off> x,
                                         NaOwn<A> own,
                                         NaLines w) {
  x.query += na_line_at<Off>(p, 0, own, w);
  x.d_out += na_line_at<Off>(p, 4, own, w);
  x.lse_delta += na_line_at<Off>(p, 7, own, w);
  x.bias += na_bias_of<Off>(p, own, w.n0, w.n1);
  return x;
}

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
[[kernel, max_total_threads_per_threadgroup(384)]] void attn_bwd_kv(
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
  const int R = R1 * R2;
  NaTile w = na_tile<G, R1, R2, A>(p, tg, thread_index);
  int lane = w.lane;
  NaOwn<A> own = na_own<true, A>(p, sizes, w);
  key += na_base(p, 1, w.batch, w.head);
  value += na_base(p, 2, w.batch, w.head);
  query += na_first<D, G, VEC>(lane);
  d_out += na_first<DV, G, VEC>(lane);

  NaKeyGradient<D, DV, G, R> f;
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    na_clear(f.dk[i]);
    na_clear(f.dv[i]);
    na_load<D, G, VEC>(
        key + na_row_at<Off, G, R>(p, 1, own, own.live, i), lane, f.k[i]);
    na_load<DV, G, VEC>(
        value + na_row_at<Off, G, R>(p, 2, own, own.live, i), lane, f.v[i]);
    na_scale(f.k[i], p.scale * NA_LOG2E);
  }
  NaLineRange span = na_line_range(na_group_range<G, R>(own.x[2]), own.x[2]);
  NaLines first = na_lines<G, R>(own);
  NaQueryLine<T, Off> rows;
  rows.query_step = na_at<Off>(p, 0, 0, 0, own.x[2].step);
  rows.d_out_step = na_at<Off>(p, 4, 0, 0, own.x[2].step);
  rows.lse_delta_step = na_at<Off>(p, 7, 0, 0, own.x[2].step);
  rows.bias_step = -na_at<Off>(p, 3, 0, 0, own.x[2].advance);
  for (int g = 0; na_more(first) && g < p.group; g++) {
    int head = w.head * p.group + g;
    rows.query = query + na_base(p, 0, w.batch, head);
    rows.bias = rpb + na_base(p, 3, 0, head);
    rows.d_out = d_out + na_base(p, 4, w.batch, head);
    rows.lse_delta = lse_delta + na_base(p, 7, w.batch, head);
    NaQuery<T, D, DV, G> x;
    NaLines at = first;
    NaQueryLine<T, Off> line = na_query_line(p, rows, own, at);
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
      NaQueryLine<T, Off> next = na_query_line(p, rows, own, at);
      na_scatter_line<RPB, NA_AHEAD(A), VEC>(f, x, line, next, c, lane);
      line = next;
    }
  }
  d_key += na_base(p, 5, w.batch, w.head);
  d_value += na_base(p, 6, w.batch, w.head);
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    Off key_at = na_row_at<Off, G, R>(p, 5, own, own.inside, i),
        value_at = na_row_at<Off, G, R>(p, 6, own, own.inside, i);
    if (na_slot<G, R>(int(own.inside), i) == 0) {
      continue;
    }
    if ((p.flags & NA_D_FIRST) != 0) {
      na_store<D, G, VEC>(d_key + key_at, lane, f.dk[i], p.scale);
    }
    if ((p.flags & NA_D_SECOND) != 0) {
      na_store<DV, G, VEC>(d_value + value_at, lane, f.dv[i], 1.0f);
    }
  }
}
