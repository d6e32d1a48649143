// SPDX-License-Identifier: MIT
//
// Products of each row x of a query with the rows y that its window covers, and
// with additional rows: logits, or the gradient of attention weights.
//
//   attn[t] = scale * x.y[t] + rpb[t]; masked slots get -infinity or 0
#include "na_walk.h"

// Writes the slots without a key: masked ones, and all slots of a padded query.
template <typename T>
inline void na_fill_slots(constant NaParams& p,
                          device T* attn,
                          NaReach r0,
                          NaReach r1,
                          NaReach r2,
                          bool live,
                          int lane,
                          int lanes) {
  float mask = live && (p.flags & NA_ZERO_MASK) == 0 ? -INFINITY : 0.0f;
  int end = live ? p.slots : p.slots + p.extra;
  for (int t = lane; t < end; t += lanes) {
    int t2 = t % p.axis[2].slots, t1 = t / p.axis[2].slots % p.axis[1].slots;
    int t0 = t / p.axis[2].slots / p.axis[1].slots;
    if (!live || !na_sees(r0, r0.start + t0) || !na_sees(r1, r1.start + t1) ||
        !na_sees(r2, r2.start + t2)) {
      attn[t] = T(mask);
    }
  }
}

template <typename T,
          typename Off,
          int D,
          int G,
          int R,
          int KB,
          bool RPB,
          int VEC>
[[kernel, max_total_threads_per_threadgroup(NA_THREADS)]] void qk(
    constant NaParams& p [[buffer(0)]],
    device const T* row [[buffer(1)]],
    device const T* key [[buffer(2)]],
    device const T* rpb [[buffer(3)]],
    device const T* extra_key [[buffer(4)]],
    device T* attn [[buffer(5)]],
    constant int* sizes [[buffer(6)]],
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
  row += na_base(p, 0, w.batch, w.head);
  key += na_base(p, 1, w.batch, kv);
  rpb += na_base(p, 2, 0, w.head);
  extra_key += na_base(p, 3, w.batch, kv);
  attn += na_base(p, 4, w.batch, w.head);

  NaRow<NA_CHUNKS(D, G)> x[R];
  bool live[R];
  Off at[R];
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    na_clear(x[r]);
    live[r] = q0.live[0] && q1.live[0] && q2.live[r];
    at[r] = na_at<Off>(p, 4, q0.index[0], q1.index[0], q2.index[r]);
    if (live[r]) {
      na_load<D, G, VEC>(
          row + na_at<Off>(p, 0, q0.index[0], q1.index[0], q2.index[r]),
          lane,
          x[r]);
    }
    na_scale(x[r], p.scale);
    if (q0.inside[0] && q1.inside[0] && q2.inside[r] &&
        (!live[r] || (p.flags & NA_CAUSAL) != 0)) {
      na_fill_slots(p,
                    attn + at[r],
                    u0.reach[0],
                    u1.reach[0],
                    u2.reach[r],
                    live[r],
                    lane,
                    G);
    }
  }
  for (int n0 = 0; n0 < u0.count; n0++) {
    for (int n1 = 0; n1 < u1.count; n1++) {
      int p0 = min(u0.first + n0, u0.top), p1 = min(u1.first + n1, u1.top);
      int k0 = q0.met.base + p0 * p.axis[0].dilation,
          k1 = q1.met.base + p1 * p.axis[1].dilation;
      bool line = na_sees(u0.reach[0], u0.first + n0) &&
                  na_sees(u1.reach[0], u1.first + n1);
      int slot = ((p0 - u0.reach[0].start) * p.axis[1].slots + p1 -
                  u1.reach[0].start) *
                 p.axis[2].slots;
      for (int n2 = 0; n2 < u2.count; n2 += KB) {
        NA_UNROLL
        for (int j = 0; j < KB; j++) {
          int position = u2.first + n2 + j, p2 = min(position, u2.top);
          NaRow<NA_CHUNKS(D, G)> k;
          na_load<D, G, VEC>(
              key + na_at<Off>(
                        p, 1, k0, k1, q2.met.base + p2 * p.axis[2].dilation),
              lane,
              k);
          NA_UNROLL
          for (int r = 0; r < R; r++) {
            float s = na_group_sum<G>(na_dot(x[r], k));
            if (line && na_sees(u2.reach[r], position) && lane == j % G) {
              if (RPB) {
                s += float(rpb[na_bias_at<Off>(p,
                                               2,
                                               p0 - q0.position[0],
                                               p1 - q1.position[0],
                                               p2 - q2.position[r])]);
              }
              attn[at[r] + slot + position - u2.reach[r].start] = T(s);
            }
          }
        }
      }
    }
  }
  for (int e = 0; e < p.extra; e++) {
    NaRow<NA_CHUNKS(D, G)> k;
    na_load<D, G, VEC>(extra_key + na_at<Off>(p, 3, 0, 0, e), lane, k);
    NA_UNROLL
    for (int r = 0; r < R; r++) {
      float s = na_group_sum<G>(na_dot(x[r], k));
      if (live[r] && lane == e % G) {
        attn[at[r] + p.slots + e] = T(s);
      }
    }
  }
}
