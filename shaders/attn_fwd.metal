// SPDX-License-Identifier: MIT
//
// Fused forward, "lanes" design; see na_tile.h.
//
//   for KB keys at a time of the union of the R windows:
//     s = scale * q.k + rpb, masked outside each query's own window
//     m' = max(m, s); c = exp(m - m'); p = exp(s - m')
//     l = c * l + sum(p); o = c * o + p.v
//   out = o / l; lse = m + log(l)
//
// Exponentials are powers of two of logits multiplied by log2(e). m is updated
// only when the maximum has grown by more than NA_SLACK. Until then weights may
// be as large as 2^NA_SLACK, which float32 represents without loss.
#include "na_tile.h"

#define NA_SLACK 8.0f

template <int D, int DV, int G, int R>
struct NaForward {
  NaRow<NA_CHUNKS(D, G)> q[R];
  NaRow<NA_CHUNKS(DV, G)> o[R];
  float m, l;  // of this lane's own query
};

// KB keys, loaded ahead of use.
template <typename T, int N, int KB>
struct NaKeys {
  NaPacked<T, N> k[KB];
};

template <int D, int G, int VEC, int KB, typename T, typename Off>
inline void na_read(thread NaKeys<T, NA_CHUNKS(D, G), KB>& x,
                    device const T* key,
                    Off step,
                    int n,
                    int top,
                    int lane) {
  NA_UNROLL
  for (int j = 0; j < KB; j++) {
    na_fetch<D, G, VEC>(key + Off(min(n + j, top)) * step, lane, x.k[j]);
  }
}

// Attends to the keys of a line. x holds the first KB keys of this line, and on
// return those of the line that begins at `next`: keys are loaded while the
// keys before them are processed.
template <bool RPB,
          int VEC,
          int D,
          int DV,
          int G,
          int R,
          int KB,
          typename T,
          typename Off>
inline void na_attend(thread NaForward<D, DV, G, R>& f,
                      thread NaKeys<T, NA_CHUNKS(D, G), KB>& x,
                      NaKeyLine<T, Off> line,
                      device const T* next,
                      NaLineRange c,
                      int lane) {
  for (int t = 0; t < c.count; t += KB) {
    int n = c.first + t;
    bool more = t + KB < c.count;
    NaPacked<T, NA_CHUNKS(DV, G)> v[KB];
    NA_UNROLL
    for (int j = 0; j < KB; j++) {
      na_fetch<DV, G, VEC>(
          line.value + Off(min(n + j, c.top)) * line.value_step, lane, v[j]);
    }
    float s[KB];
    NA_UNROLL
    for (int j = 0; j < KB; j++) {
      NaRow<NA_CHUNKS(D, G)> k;
      na_unpack<T>(x.k[j], k);
      NaSlots<R> parts;
      na_dots(f.q, k, parts);
      s[j] = na_own_sum<G>(parts);
      bool seen = na_sees_at(c, n + j);
      if (RPB && seen) {
        s[j] =
            fma(NA_LOG2E, float(line.bias[Off(n + j) * line.bias_step]), s[j]);
      }
      s[j] = seen ? s[j] : NA_LOWEST;
    }
    na_read<D, G, VEC>(x,
                       more ? line.key : next,
                       line.key_step,
                       more ? n + KB : c.first,
                       c.top,
                       lane);
    float top = f.m;  // never below NA_LOWEST / 2: masked keys get weight 0
    NA_UNROLL
    for (int j = 0; j < KB; j++) {
      top = max(top, s[j]);
    }
    if (simd_any(top > f.m + NA_SLACK)) {  // rare after the first keys
      float fade = fast::exp2(f.m - top);
      f.m = top;
      f.l *= fade;
      NA_UNROLL
      for (int i = 0; i < R; i++) {
        na_scale(f.o[i], na_slot<G, R>(fade, i));
      }
    }
    NA_UNROLL
    for (int j = 0; j < KB; j++) {
      s[j] = fast::exp2(s[j] - f.m);
      f.l += s[j];
      NaRow<NA_CHUNKS(DV, G)> row;
      na_unpack<T>(v[j], row);
      NA_UNROLL
      for (int i = 0; i < R; i++) {
        na_axpy(na_slot<G, R>(s[j], i), row, f.o[i]);
      }
    }
  }
}

template <typename T,
          typename Off,
          int D,
          int DV,
          int G,
          int R1,
          int R2,
          int A,
          int KB,
          bool RPB,
          int VEC>
[[kernel, max_total_threads_per_threadgroup(512)]] void attn_fwd(
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
  const int R = R1 * R2;
  NaTile w = na_tile<G, R1, R2, A>(p, tg, thread_index);
  int lane = w.lane;
  NaOwn<A> own = na_own<false, A>(p, sizes, w);
  query += na_base(p, 0, w.batch, w.head);
  key += na_first<D, G, VEC>(lane);
  value += na_first<DV, G, VEC>(lane);
  extra_key += na_first<D, G, VEC>(lane);
  extra_value += na_first<DV, G, VEC>(lane);

  NaForward<D, DV, G, R> f;
  f.m = NA_LOWEST * 0.5f;
  f.l = 0.0f;
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    na_clear(f.o[i]);
    na_load<D, G, VEC>(
        query + na_row_at<Off, G, R>(p, 0, own, own.live, i), lane, f.q[i]);
    na_scale(f.q[i], p.scale * NA_LOG2E);
  }
  NaKeys<T, NA_CHUNKS(D, G), KB> x;
  NaLineRange span = na_line_range(na_group_range<G, R>(own.x[2]), own.x[2]);
  NaLines at = na_lines<G, R>(own);
  if (na_more(at)) {
    NaKeyLine<T, Off> keys =
        na_keys_of<T, Off>(p, w.batch, w.head, own.x[2], key, value, rpb);
    NaKeyLine<T, Off> line = na_key_line(p, keys, own, at);
    na_read<D, G, VEC>(x, line.key, line.key_step, span.first, span.top, lane);
    while (na_more(at)) {
      NaLineRange c = span;
      c.seen = na_has(own, at) ? span.seen : 0u;
      at = na_after(at);
      NaKeyLine<T, Off> next = na_key_line(p, keys, own, at);
      na_attend<RPB, VEC>(f, x, line, next.key, c, lane);
      line = next;
    }
  }
  if (p.extra > 0) {
    NaKeyLine<T, Off> tokens =
        na_tokens_of<T, Off>(p, w.batch, w.head, extra_key, extra_value);
    NaLineRange c = na_line_range_of_tokens(p, own.live);
    na_read<D, G, VEC>(x, tokens.key, tokens.key_step, 0, c.top, lane);
    na_attend<false, VEC>(f, x, tokens, tokens.key, c, lane);
  }
  out += na_base(p, 6, w.batch, w.head);
  lse += na_base(p, 7, w.batch, w.head);
  bool any = f.l != 0.0f;  // also true for NaN, which must not be lost
  float factor = any ? 1.0f / f.l : 0.0f;
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    Off row = na_row_at<Off, G, R>(p, 6, own, own.inside, i);
    float share = na_slot<G, R>(factor, i);
    if (na_slot<G, R>(int(own.inside), i) != 0) {
      na_store<DV, G, VEC>(out + row, lane, f.o[i], share);
    }
  }
  if (own.inside && (p.flags & NA_LSE) != 0 && lane % (G / R) == 0) {
    lse[na_at<Off>(p, 7, own.x[0].index, own.x[1].index, own.x[2].index)] =
        any ? NA_LN2 * (f.m + log2(f.l)) : -INFINITY;
  }
}
