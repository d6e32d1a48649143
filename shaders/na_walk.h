// SPDX-License-Identifier: MIT
//
// Which queries or keys a lane group works on, and what they see.
#pragma once
#include "na_load.h"
#include "na_range.h"

// A lane group's place in the grid: x counts tiles along the last axis, y along
// the other two, z counts samples and heads.
struct NaPlace {
  int batch, head, lane;
  int unit[3];
};

template <int G>
inline NaPlace na_place(constant NaParams& p, uint3 tg, uint thread_index) {
  NaPlace w;
  int g = int(thread_index) / G;
  w.lane = int(thread_index) % G;
  int tiles = (p.units[1] + (1 << p.tile[1]) - 1) >> p.tile[1];
  int y1 = int(tg.y) % tiles, y0 = int(tg.y) / tiles;
  w.unit[2] = (int(tg.x) << p.tile[2]) + (g & ((1 << p.tile[2]) - 1));
  g >>= p.tile[2];
  w.unit[1] = (y1 << p.tile[1]) + (g & ((1 << p.tile[1]) - 1));
  w.unit[0] = (y0 << p.tile[0]) + (g >> p.tile[1]);
  w.batch = int(tg.z) / p.heads;
  w.head = int(tg.z) % p.heads;
  return w;
}

inline int na_length(constant NaParams& p,
                     constant int* sizes,
                     int batch,
                     int axis) {
  return (p.flags & NA_RAGGED) != 0 ? sizes[3 * batch + axis]
                                    : p.axis[axis].length;
}

// One axis of the R positions of a unit: neighbors in one dilation group.
template <int R>
struct NaSpan {
  int residue, group;  // the dilation group, and its length in this sample
  int index[R];        // of the query's output, or of the key
  int position[R];     // of a query, counted like those of keys
  bool inside[R];      // whether the tensor has it
  bool live[R];        // whether the sample has it; else it is padding
  NaHeld met;          // for queries the keys held, for keys the queries held
};

// Rows of a tensor that begins at `first` are enumerated by residue first, so
// that neighboring units stay neighbors in memory.
template <int R>
inline NaSpan<R> na_span(
    constant NaAxis& a, int length, int unit, int first, int count) {
  NaSpan<R> s;
  int local = a.dilation == 1 ? 0 : unit % a.dilation;
  int chunk = a.dilation == 1 ? unit : unit / a.dilation;
  NaOrigin o = na_origin(a, first, local);
  s.residue = o.residue;
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    s.index[r] = local + (chunk * R + r) * a.dilation;
    s.position[r] = chunk * R + r + o.shift;
    s.inside[r] = s.index[r] < count;
    s.live[r] = s.inside[r] && first + s.index[r] < length;
  }
  s.group = na_group_length(a, length, s.residue);
  return s;
}

template <int R>
inline NaSpan<R> na_keys(constant NaAxis& a, int length, int unit) {
  NaSpan<R> s = na_span<R>(a, length, unit, a.key_first, a.keys);
  s.met = na_held_queries(a, s.residue);
  return s;
}

// With R = 1 a unit is an output index, with any query step; otherwise the
// query step is 1.
template <int R>
inline NaSpan<R> na_queries(constant NaAxis& a, int length, int unit) {
  int first = R > 1 ? unit : min(unit, a.outputs) * a.step;
  NaSpan<R> s = na_span<R>(a, length, first, a.query_first, a.queries);
  if (R == 1) {
    s.index[0] = unit;
    s.inside[0] = unit < a.outputs;
  }
  s.met = na_held_keys(a, s.residue);
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    s.position[r] -= s.met.shift;
  }
  return s;
}

// The keys that query r of a span sees.
template <int R>
inline NaReach na_reach(constant NaAxis& a, thread const NaSpan<R>& s, int r) {
  return na_reach(a, s.met, s.group, s.position[r] + s.met.shift);
}

// The union of what the R queries see. count is the same for the whole
// simdgroup, so that all its lanes execute every shuffle; positions beyond top
// are masked.
template <int R>
struct NaUnion {
  NaReach reach[R];
  int first, end;  // of this lane group's own union
  int top, count;
};

template <int R>
inline NaUnion<R> na_union(constant NaAxis& a, thread const NaSpan<R>& s) {
  NaUnion<R> u;
  u.first = 0;
  u.top = -1;
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    u.reach[r].start = 0;
    u.reach[r].lo = 0;
    u.reach[r].hi = 0;
    if (s.live[r]) {
      u.reach[r] = na_reach(a, s, r);
      u.first = r == 0 ? u.reach[r].lo : u.first;
      u.top = u.reach[r].hi - 1;
    }
  }
  NA_UNROLL
  for (int r = 0; r < R; r++) {  // causal windows of a stride group may differ
    u.top = max(u.top, u.reach[r].hi - 1);
  }
  u.end = u.top + 1;
  u.count = simd_max(u.end - u.first);
  u.top = max(u.top, 0);
  return u;
}

inline bool na_sees(NaReach r, int position) {
  return position >= r.lo && position < r.hi;
}

// The union of the outputs that see R keys, as first + n * step; key r is seen
// by those with lo[r] <= n < hi[r]. In the dilation group, their queries have
// the positions position + n * advance.
template <int R>
struct NaSeen {
  int first, step;
  int end, top, count;  // of n: this lane group's, and the simdgroup's count
  int position, advance;
  int lo[R], hi[R];
};

template <int R>
inline NaSeen<R> na_seen(constant NaAxis& a,
                         int length,
                         thread const NaSpan<R>& s) {
  NaSeen<R> v;
  v.first = 0;
  v.step = 1;
  v.position = 0;
  v.advance = 1;
  v.top = -1;
  NA_UNROLL
  for (int r = 0; r < R; r++) {
    v.lo[r] = 0;
    v.hi[r] = 0;
  }
  if (R == 1) {
    if (s.live[0]) {
      NaQueries q = na_inverse_range(a, length, s.index[0]);
      v.first = q.first;
      v.step = q.step;
      v.hi[0] = q.count;
      v.top = q.count - 1;
      v.position = na_output_position(a, q.first);
      v.advance = q.step * a.step / a.dilation;
    }
  } else {
    int start = 0;
    NA_UNROLL
    for (int r = 0; r < R; r++) {
      int2 seen = int2(0, 0);
      if (s.live[r]) {
        seen = na_seen_by(a, s.met, s.group, s.position[r]);
      }
      if (seen.x < seen.y) {
        start = v.top < 0 ? seen.x : start;
        v.lo[r] = seen.x - start;
        v.hi[r] = seen.y - start;
        v.top = max(v.top, seen.y - start - 1);
      }
    }
    v.first = s.met.base + start * a.dilation;
    v.step = a.dilation;
    v.position = s.met.shift + start;
  }
  v.end = v.top + 1;
  v.count = simd_max(v.end);
  v.top = max(v.top, 0);
  return v;
}

// What is subtracted from logits, to the base 2. If lse is -infinity, all
// logits of the row are, and its weights become 0.
inline float na_offset(float lse) {
  float x = NA_LOG2E * lse;
  return x < NA_LOWEST ? -NA_LOWEST : x;
}

// Offset of (batch, head) in the tensor at buffer i + 1.
inline long na_base(constant NaParams& p, int i, int batch, int head) {
  return long(batch) * p.stride[i][0] + long(head) * p.stride[i][4];
}

template <typename Off>
inline Off na_at(constant NaParams& p, int i, int i0, int i1, int i2) {
  return Off(i0) * Off(p.stride[i][1]) + Off(i1) * Off(p.stride[i][2]) +
         Off(i2) * Off(p.stride[i][3]);
}

// Offset of the relative position bias of a key that is d0, d1, d2 positions
// after a query.
template <typename Off>
inline Off na_bias_at(constant NaParams& p, int i, int d0, int d1, int d2) {
  return na_at<Off>(p,
                    i,
                    d0 + p.axis[0].slots - 1,
                    d1 + p.axis[1].slots - 1,
                    d2 + p.axis[2].slots - 1);
}

// Stores the gradient of an output's query, and zeros for the queries after it
// that query_step leaves out.
template <typename Off, int D, int G, int VEC, typename T, int N>
inline void na_store_cell(constant NaParams& p,
                          int tensor,
                          device T* base,
                          int o0,
                          int o1,
                          int o2,
                          int lane,
                          thread const NaRow<N>& x,
                          float factor) {
  NaRow<N> zero;
  na_clear(zero);
  int s0 = p.axis[0].step, s1 = p.axis[1].step, s2 = p.axis[2].step;
  for (int i = o0 * s0; i < min(o0 * s0 + s0, p.axis[0].queries); i++) {
    for (int j = o1 * s1; j < min(o1 * s1 + s1, p.axis[1].queries); j++) {
      for (int k = o2 * s2; k < min(o2 * s2 + s2, p.axis[2].queries); k++) {
        device T* row = base + na_at<Off>(p, tensor, i, j, k);
        if (i == o0 * s0 && j == o1 * s1 && k == o2 * s2) {
          na_store<D, G, VEC>(row, lane, x, factor);
        } else {
          na_store<D, G, VEC>(row, lane, zero, 1.0f);
        }
      }
    }
  }
}
