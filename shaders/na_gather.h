// SPDX-License-Identifier: MIT
//
// Gradient of a lane group's queries, in registers; see na_tile.h.
//
//   delta = dout.out - dlse
//   for each key: p = exp(scale * q.k + rpb - lse); ds = p * (dout.v - delta)
//                 dq += scale * ds * k
#pragma once
#include "na_tile.h"

template <int D, int DV, int G, int R>
struct NaQueryGradient {
  NaRow<NA_CHUNKS(D, G)> q[R], dq[R];
  NaRow<NA_CHUNKS(DV, G)> dout[R];
  float lse, delta;  // of this lane's own query
};

// A key and its value, loaded ahead of use.
template <typename T, int D, int DV, int G>
struct NaPair {
  NaPacked<T, NA_CHUNKS(D, G)> k;
  NaPacked<T, NA_CHUNKS(DV, G)> v;
};

template <int VEC, int D, int DV, int G, typename T, typename Off>
inline void na_read(thread NaPair<T, D, DV, G>& x,
                    NaKeyLine<T, Off> line,
                    int n,
                    int lane) {
  na_fetch<D, G, VEC>(line.key + Off(n) * line.key_step, lane, x.k);
  na_fetch<DV, G, VEC>(line.value + Off(n) * line.value_step, lane, x.v);
}

// Adds key n to the gradients; returns p and ds of the lane's own query.
template <bool RPB, int D, int DV, int G, int R, typename T, typename Off>
inline float2 na_gather(thread NaQueryGradient<D, DV, G, R>& f,
                        thread const NaPair<T, D, DV, G>& x,
                        NaKeyLine<T, Off> line,
                        NaLineRange c,
                        int n) {
  NaRow<NA_CHUNKS(D, G)> k;
  NaRow<NA_CHUNKS(DV, G)> v;
  na_unpack<T>(x.k, k);
  na_unpack<T>(x.v, v);
  NaSlots<R> logits, products;
  na_dots(f.q, k, logits);
  na_dots(f.dout, v, products);
  float s = na_own_sum<G>(logits), dp = na_own_sum<G>(products);
  bool seen = na_sees_at(c, n);
  if (RPB && seen) {
    s = fma(NA_LOG2E, float(line.bias[Off(n) * line.bias_step]), s);
  }
  float weight = fast::exp2(s - f.lse);
  float ds = seen ? weight * (dp - f.delta) : 0.0f;
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    na_axpy(na_slot<G, R>(ds, i), k, f.dq[i]);
  }
  return float2(weight, ds);
}

// Receives the weights of the lane's own query and drops them.
struct NaNoSink {};

inline void na_emit(NaNoSink, NaLineRange, int, float2) {}

// Adds the keys of a line. x holds the first one; each next key is loaded while
// one is processed. With AHEAD, the first key of the line `next` is in x on
// return.
template <bool RPB,
          bool AHEAD,
          int VEC,
          int D,
          int DV,
          int G,
          int R,
          typename T,
          typename Off,
          typename Sink>
inline void na_gather_line(thread NaQueryGradient<D, DV, G, R>& f,
                           thread NaPair<T, D, DV, G>& x,
                           NaKeyLine<T, Off> line,
                           NaKeyLine<T, Off> next,
                           NaLineRange c,
                           int lane,
                           Sink sink) {
  NaPair<T, D, DV, G> y;
  int n = c.first;
  for (int pairs = c.count / 2; pairs > 0; pairs--, n += 2) {
    na_read<VEC>(y, line, min(n + 1, c.top), lane);
    na_emit(sink, c, n, na_gather<RPB>(f, x, line, c, n));
    bool more = !AHEAD || n + 2 < c.first + c.count;
    na_read<VEC>(
        x, more ? line : next, more ? min(n + 2, c.top) : c.first, lane);
    na_emit(sink, c, n + 1, na_gather<RPB>(f, y, line, c, n + 1));
  }
  if (c.count % 2 != 0) {
    na_emit(sink, c, n, na_gather<RPB>(f, x, line, c, n));
    if (AHEAD) {
      na_read<VEC>(x, next, c.first, lane);
    }
  }
}

// Loads the queries of a sample and head from the tensors at buffer 1 (query)
// and at the buffers from OUT + 1 on (out, lse, d_out and d_lse).
template <int OUT,
          int VEC,
          typename Off,
          int D,
          int DV,
          int G,
          int R,
          int A,
          typename T>
inline void na_begin(thread NaQueryGradient<D, DV, G, R>& f,
                     constant NaParams& p,
                     NaOwn<A> own,
                     int lane,
                     device const T* query,
                     device const T* out,
                     device const float* lse,
                     device const T* d_out,
                     device const float* d_lse) {
  int i0 = own.x[0].index, i1 = own.x[1].index, i2 = own.x[2].index;
  NaSlots<R> parts;
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    NaRow<NA_CHUNKS(DV, G)> o;
    na_clear(f.dq[i]);
    na_load<D, G, VEC>(
        query + na_row_at<Off, G, R>(p, 0, own, own.live, i), lane, f.q[i]);
    na_load<DV, G, VEC>(
        out + na_row_at<Off, G, R>(p, OUT, own, own.live, i), lane, o);
    na_load<DV, G, VEC>(
        d_out + na_row_at<Off, G, R>(p, OUT + 2, own, own.live, i),
        lane,
        f.dout[i]);
    na_scale(f.q[i], p.scale * NA_LOG2E);
    parts.v[i] = na_dot(o, f.dout[i]);
  }
  f.delta = na_own_sum<G>(parts);
  f.lse = 0.0f;
  if (own.live) {
    f.lse = na_offset(lse[na_at<Off>(p, OUT + 1, i0, i1, i2)]);
    if ((p.flags & NA_D_LSE) != 0) {
      f.delta -= d_lse[na_at<Off>(p, OUT + 3, i0, i1, i2)];
    }
  }
}
