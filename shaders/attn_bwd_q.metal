// SPDX-License-Identifier: MIT
//
// Fused backward, gradient of the queries, and delta for the other gradients:
//
//   delta = dout.out - dlse
//   for each key: p = exp(scale * q.k + rpb - lse); ds = p * (dout.v - delta)
//                 dq += scale * ds * k
#include "na_walk.h"

template <int D, int DV, int G, int R>
struct NaQueryGradient {
  NaRow<NA_CHUNKS(D, G)> q[R], dq[R];
  NaRow<NA_CHUNKS(DV, G)> dout[R];
  float lse[R], delta[R];
};

// How R queries see one key.
template <int R>
struct NaGlance {
  bool seen[R];
  float bias[R];
};

// Takes one key.
template <int D, int DV, int G, int R, int VEC, typename T>
inline void na_gather(thread NaQueryGradient<D, DV, G, R>& f,
                      device const T* key,
                      device const T* value,
                      thread const NaGlance<R>& g,
                      int lane) {
  NaRow<NA_CHUNKS(D, G)> k;
  NaRow<NA_CHUNKS(DV, G)> v;
  na_load<D, G, VEC>(key, lane, k);
  na_load<DV, G, VEC>(value, lane, v);
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    float s = na_group_sum<G>(na_dot(f.q[r], k));
    float dp = na_group_sum<G>(na_dot(f.dout[r], v));
    float ds = fast::exp2(s + g.bias[r] - f.lse[r]) * (dp - f.delta[r]);
    na_axpy(g.seen[r] ? ds : 0.0f, k, f.dq[r]);
  }
}

template <typename T,
          typename Off,
          int D,
          int DV,
          int G,
          int R,
          bool RPB,
          int VEC>
[[kernel, max_total_threads_per_threadgroup(NA_THREADS)]] void attn_bwd_q(
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
  NaPlace w = na_place<G>(p, tg, thread_index);
  int kv = w.head / p.group, lane = w.lane;
  NaSpan<1> q0 =
      na_queries<1>(p.axis[0], na_length(p, sizes, w.batch, 0), w.unit[0]);
  NaSpan<1> q1 =
      na_queries<1>(p.axis[1], na_length(p, sizes, w.batch, 1), w.unit[1]);
  NaSpan<R> q2 =
      na_queries<R>(p.axis[2], na_length(p, sizes, w.batch, 2), w.unit[2]);
  query += na_base(p, 0, w.batch, w.head);
  key += na_base(p, 1, w.batch, kv) + na_at<Off>(p, 1, 0, 0, q2.residue);
  value += na_base(p, 2, w.batch, kv) + na_at<Off>(p, 2, 0, 0, q2.residue);
  Off key_step = na_at<Off>(p, 1, 0, 0, p.axis[2].dilation),
      value_step = na_at<Off>(p, 2, 0, 0, p.axis[2].dilation);
  rpb += na_base(p, 3, 0, w.head);
  out += na_base(p, 6, w.batch, w.head);
  lse += na_base(p, 7, w.batch, w.head);
  d_out += na_base(p, 8, w.batch, w.head);
  d_lse += na_base(p, 9, w.batch, w.head);
  d_query += na_base(p, 10, w.batch, w.head);
  delta += na_base(p, 11, w.batch, w.head);

  NaQueryGradient<D, DV, G, R> f;
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    int i0 = q0.index[0], i1 = q1.index[0], i2 = q2.index[r];
    NaRow<NA_CHUNKS(DV, G)> o;
    na_clear(f.q[r]);
    na_clear(f.dq[r]);
    na_clear(f.dout[r]);
    na_clear(o);
    f.lse[r] = 0.0f;
    bool live = q0.live[0] && q1.live[0] && q2.live[r];
    if (live) {
      na_load<D, G, VEC>(query + na_at<Off>(p, 0, i0, i1, i2), lane, f.q[r]);
      na_load<DV, G, VEC>(out + na_at<Off>(p, 6, i0, i1, i2), lane, o);
      na_load<DV, G, VEC>(
          d_out + na_at<Off>(p, 8, i0, i1, i2), lane, f.dout[r]);
      f.lse[r] = max(NA_LOG2E * lse[na_at<Off>(p, 7, i0, i1, i2)], NA_LOWEST);
    }
    na_scale(f.q[r], p.scale * NA_LOG2E);
    f.delta[r] = na_group_sum<G>(na_dot(o, f.dout[r]));
    if (live && (p.flags & NA_D_LSE) != 0) {
      f.delta[r] -= d_lse[na_at<Off>(p, 9, i0, i1, i2)];
    }
    if (live && lane == 0) {
      delta[na_at<Off>(p, 11, i0, i1, i2)] = f.delta[r];
    }
  }
  if ((p.flags & NA_D_FIRST) == 0) {
    return;
  }
  NaUnion<1> u0 = na_union(p.axis[0], q0);
  NaUnion<1> u1 = na_union(p.axis[1], q1);
  NaUnion<R> u2 = na_union(p.axis[2], q2);
  for (int n0 = 0; n0 < u0.count; n0++) {
    for (int n1 = 0; n1 < u1.count; n1++) {
      int p0 = min(u0.first + n0, u0.top), p1 = min(u1.first + n1, u1.top);
      int k0 = q0.residue + p0 * p.axis[0].dilation,
          k1 = q1.residue + p1 * p.axis[1].dilation;
      bool row = na_sees(u0.reach[0], u0.first + n0) &&
                 na_sees(u1.reach[0], u1.first + n1);
      Off key_row = na_at<Off>(p, 1, k0, k1, 0),
          value_row = na_at<Off>(p, 2, k0, k1, 0);
      for (int n2 = 0; n2 < u2.count; n2++) {
        int p2 = min(u2.first + n2, u2.top);
        NaGlance<R> g;
        NA_UNROLL
        for (int r = 0; r < R; r++) {
          g.seen[r] = row && na_sees(u2.reach[r], u2.first + n2);
          g.bias[r] = 0.0f;
          if (RPB && g.seen[r]) {
            g.bias[r] =
                NA_LOG2E * float(rpb[na_bias_at<Off>(p,
                                                     3,
                                                     p0 - q0.position[0],
                                                     p1 - q1.position[0],
                                                     p2 - q2.position[r])]);
          }
        }
        na_gather<D, DV, G, R, VEC>(f,
                                    key + key_row + Off(p2) * key_step,
                                    value + value_row + Off(p2) * value_step,
                                    g,
                                    lane);
      }
    }
  }
  for (int e = 0; e < p.extra; e++) {
    NaGlance<R> g;
    NA_UNROLL
    for (int r = 0; r < R; r++) {
      g.seen[r] = q0.live[0] && q1.live[0] && q2.live[r];
      g.bias[r] = 0.0f;
    }
    na_gather<D, DV, G, R, VEC>(
        f,
        extra_key + na_base(p, 4, w.batch, kv) + na_at<Off>(p, 4, 0, 0, e),
        extra_value + na_base(p, 5, w.batch, kv) + na_at<Off>(p, 5, 0, 0, e),
        g,
        lane);
  }
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    if (q0.inside[0] && q1.inside[0] && q2.inside[r]) {
      na_store_cell<Off, D, G, VEC>(p,
                                    10,
                                    d_query,
                                    q0.index[0],
                                    q1.index[0],
                                    q2.index[r],
                                    lane,
                                    f.dq[r],
                                    p.scale);
    }
  }
}
