// SPDX-License-Identifier: MIT
//
// Fused forward, "lanes" design: G lanes hold R neighbouring queries, which
// share every key and value that they load.
//
//   for blocks of KB keys of the union of the R windows:
//     s = scale * q.k + rpb, masked outside each query's own window
//     m' = max(m, s); c = exp(m - m'); p = exp(s - m')
//     l = c * l + sum(p); o = c * o + p.v
//   out = o / l; lse = m + log(l)
//
// Exponentials are powers of two of logits multiplied by log2(e).
#include "na_walk.h"

template <int D, int DV, int G, int R>
struct NaForward {
  NaRow<NA_CHUNKS(D, G)> q[R];
  NaRow<NA_CHUNKS(DV, G)> o[R];
  float m[R], l[R];
};

// KB keys: where their rows are, which query sees them, and with what bias.
template <typename Off, int R, int KB>
struct NaBlock {
  Off key[KB], value[KB];
  bool seen[R][KB];
  float bias[R][KB];
};

template <typename T,
          typename Off,
          int D,
          int DV,
          int G,
          int R,
          int KB,
          bool RPB,
          int VEC>
inline void na_attend(thread NaForward<D, DV, G, R>& f,
                      device const T* key,
                      device const T* value,
                      thread const NaBlock<Off, R, KB>& b,
                      int lane) {
  float s[R][KB];
  NA_UNROLL
  for (int j = 0; j < KB; j++) {
    NaRow<NA_CHUNKS(D, G)> k;
    na_load<D, G, VEC>(key + b.key[j], lane, k);
    NA_UNROLL
    for (int r = 0; r < R; r++) {
      s[r][j] = na_group_sum<G>(na_dot(f.q[r], k));
      s[r][j] = RPB ? s[r][j] + b.bias[r][j] : s[r][j];
      s[r][j] = b.seen[r][j] ? s[r][j] : NA_LOWEST;
    }
  }
  float top[R];  // never below NA_LOWEST / 2: what is not seen vanishes
  bool grows = false;
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    top[r] = f.m[r];
    NA_UNROLL
    for (int j = 0; j < KB; j++) {
      top[r] = max(top[r], s[r][j]);
    }
    grows = grows || top[r] > f.m[r];
  }
  if (simd_any(grows)) {  // seldom after the first blocks
    NA_UNROLL
    for (int r = 0; r < R; r++) {
      float fade = fast::exp2(f.m[r] - top[r]);
      f.m[r] = top[r];
      f.l[r] *= fade;
      na_scale(f.o[r], fade);
    }
  }
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    NA_UNROLL
    for (int j = 0; j < KB; j++) {
      s[r][j] = fast::exp2(s[r][j] - f.m[r]);
      f.l[r] += s[r][j];
    }
  }
  NA_UNROLL
  for (int j = 0; j < KB; j++) {
    NaRow<NA_CHUNKS(DV, G)> v;
    na_load<DV, G, VEC>(value + b.value[j], lane, v);
    NA_UNROLL
    for (int r = 0; r < R; r++) {
      na_axpy(s[r][j], v, f.o[r]);
    }
  }
}

template <typename T,
          typename Off,
          int D,
          int DV,
          int G,
          int R,
          int KB,
          bool RPB,
          int VEC>
[[kernel, max_total_threads_per_threadgroup(NA_THREADS)]] void attn_fwd(
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
  NaPlace w = na_place<G>(p, tg, thread_index);
  int kv = w.head / p.group, lane = w.lane;
  NaSpan<1> q0 =
      na_queries<1>(p.axis[0], na_length(p, sizes, w.batch, 0), w.unit[0]);
  NaSpan<1> q1 =
      na_queries<1>(p.axis[1], na_length(p, sizes, w.batch, 1), w.unit[1]);
  NaSpan<R> q2 =
      na_queries<R>(p.axis[2], na_length(p, sizes, w.batch, 2), w.unit[2]);
  NaUnion<1> u0 = na_union(p.axis[0], q0);
  NaUnion<1> u1 = na_union(p.axis[1], q1);
  NaUnion<R> u2 = na_union(p.axis[2], q2);
  query += na_base(p, 0, w.batch, w.head);
  key += na_base(p, 1, w.batch, kv) + na_at<Off>(p, 1, 0, 0, q2.residue);
  value += na_base(p, 2, w.batch, kv) + na_at<Off>(p, 2, 0, 0, q2.residue);
  rpb += na_base(p, 3, 0, w.head);
  Off key_step = na_at<Off>(p, 1, 0, 0, p.axis[2].dilation),
      value_step = na_at<Off>(p, 2, 0, 0, p.axis[2].dilation);

  NaForward<D, DV, G, R> f;
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    na_clear(f.q[r]);
    na_clear(f.o[r]);
    f.m[r] = NA_LOWEST * 0.5f;
    f.l[r] = 0.0f;
    if (q0.live[0] && q1.live[0] && q2.live[r]) {
      na_load<D, G, VEC>(
          query + na_at<Off>(p, 0, q0.index[0], q1.index[0], q2.index[r]),
          lane,
          f.q[r]);
    }
    na_scale(f.q[r], p.scale * NA_LOG2E);
  }
  for (int n0 = 0; n0 < u0.count; n0++) {
    for (int n1 = 0; n1 < u1.count; n1++) {
      int p0 = min(u0.first + n0, u0.top), p1 = min(u1.first + n1, u1.top);
      int k0 = q0.residue + p0 * p.axis[0].dilation,
          k1 = q1.residue + p1 * p.axis[1].dilation;
      bool row = na_sees(u0.reach[0], u0.first + n0) &&
                 na_sees(u1.reach[0], u1.first + n1);
      Off key_row = na_at<Off>(p, 1, k0, k1, 0),
          value_row = na_at<Off>(p, 2, k0, k1, 0);
      for (int n2 = 0; n2 < u2.count; n2 += KB) {
        NaBlock<Off, R, KB> b;
        NA_UNROLL
        for (int j = 0; j < KB; j++) {
          int at = u2.first + n2 + j, p2 = min(at, u2.top);
          b.key[j] = key_row + Off(p2) * key_step;
          b.value[j] = value_row + Off(p2) * value_step;
          NA_UNROLL
          for (int r = 0; r < R; r++) {
            b.seen[r][j] = row && na_sees(u2.reach[r], at);
            b.bias[r][j] = 0.0f;
            if (RPB && b.seen[r][j]) {
              b.bias[r][j] =
                  NA_LOG2E * float(rpb[na_bias_at<Off>(p,
                                                       3,
                                                       p0 - q0.position[0],
                                                       p1 - q1.position[0],
                                                       p2 - q2.position[r])]);
            }
          }
        }
        na_attend<T, Off, D, DV, G, R, KB, RPB, VEC>(f, key, value, b, lane);
      }
    }
  }
  extra_key += na_base(p, 4, w.batch, kv);
  extra_value += na_base(p, 5, w.batch, kv);
  for (int e = 0; e < p.extra; e += KB) {
    NaBlock<Off, R, KB> b;
    NA_UNROLL
    for (int j = 0; j < KB; j++) {
      int token = min(e + j, p.extra - 1);
      b.key[j] = na_at<Off>(p, 4, 0, 0, token);
      b.value[j] = na_at<Off>(p, 5, 0, 0, token);
      NA_UNROLL
      for (int r = 0; r < R; r++) {
        b.seen[r][j] =
            q0.live[0] && q1.live[0] && q2.live[r] && e + j < p.extra;
        b.bias[r][j] = 0.0f;
      }
    }
    na_attend<T, Off, D, DV, G, R, KB, RPB, VEC>(
        f, extra_key, extra_value, b, lane);
  }
  out += na_base(p, 6, w.batch, w.head);
  lse += na_base(p, 7, w.batch, w.head);
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    if (!(q0.inside[0] && q1.inside[0] && q2.inside[r])) {
      continue;
    }
    bool any = f.l[r] > 0.0f;
    na_store<DV, G, VEC>(
        out + na_at<Off>(p, 6, q0.index[0], q1.index[0], q2.index[r]),
        lane,
        f.o[r],
        any ? 1.0f / f.l[r] : 0.0f);
    if ((p.flags & NA_LSE) != 0 && lane == 0) {
      lse[na_at<Off>(p, 7, q0.index[0], q1.index[0], q2.index[r])] =
          any ? NA_LN2 * (f.m[r] + log2(f.l[r])) : -INFINITY;
    }
  }
}
