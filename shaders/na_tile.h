// SPDX-License-Identifier: MIT
//
// The "lanes" design. A threadgroup processes a tile of queries (or of keys)
// that belong to one dilation group along each axis. A lane group of G lanes
// processes R = R1 x R2 neighbors in the tile along axes 1 and 2, its rows.
// Each lane holds some channels of all R rows. Work that is needed once per
// row, such as the softmax, is done by the lanes whose own row it is:
// own = lane / (G / R).
//
// Each lane orders the rows in its registers differently: slot i is row
// own ^ i. With this order, summing over lanes so that each lane gets the
// result of its own row takes R - 1 + log2(G / R) shuffles and no selection.
#pragma once
#include "na_walk.h"

template <int R>
struct NaSlots {
  float v[R];
};

// The sum over the lane group of its lanes' parts for this lane's own row.
template <int G, int R>
inline float na_own_sum(thread NaSlots<R>& x) {
  NA_UNROLL
  for (int h = R / 2; h > 0; h /= 2) {
    NA_UNROLL
    for (int i = 0; i < h; i++) {
      x.v[i] += simd_shuffle_xor(x.v[i + h], ushort(h * (G / R)));
    }
  }
  NA_UNROLL
  for (int m = 1; m < G / R; m *= 2) {
    x.v[0] += simd_shuffle_xor(x.v[0], ushort(m));
  }
  return x.v[0];
}

// The value of `own` in the lanes whose own row is this lane's slot i.
template <int G, int R, typename V>
inline V na_slot(V own, int i) {
  return i == 0 ? own : simd_shuffle_xor(own, ushort(i * (G / R)));
}

template <int R, int N>
inline void na_dots(thread const NaRow<N>* rows,
                    thread const NaRow<N>& x,
                    thread NaSlots<R>& sums) {
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    sums.v[i] = na_dot(rows[i], x);
  }
}

// Place in the grid (x counts tiles along the last axis, y along the other two,
// z counts samples and heads), and the lane's own row in its tile, which has
// `rows` rows along each axis.
struct NaTile {
  int batch, head, lane;
  int unit[3], rows[3], row[3];
};

// A is the problem's number of axes; the first 3 - A have length 1.
template <int G, int R1, int R2, int A>
inline NaTile na_tile(constant NaParams& p, uint3 tg, uint thread_index) {
  NaTile w;
  int g = int(thread_index) / G;
  w.lane = int(thread_index) % G;
  int own = w.lane / (G / (R1 * R2));
  w.unit[2] = int(tg.x);
  w.unit[1] = A < 3 ? int(tg.y) : int(tg.y) % p.units[1];
  w.unit[0] = A < 3 ? 0 : int(tg.y) / p.units[1];
  w.rows[0] = 1 << p.tile[0];
  w.rows[1] = R1 << p.tile[1];
  w.rows[2] = R2 << p.tile[2];
  w.row[2] = (g & ((1 << p.tile[2]) - 1)) * R2 + own % R2;
  g >>= p.tile[2];
  w.row[1] = (g & ((1 << p.tile[1]) - 1)) * R1 + own / R2;
  w.row[0] = g >> p.tile[1];
  w.batch = int(tg.z) / p.heads;
  w.head = int(tg.z) % p.heads;
  return w;
}

// One axis of a row: its place, and the keys that it sees or the queries that
// see it, lo <= n < hi. These have index base + n * step in their tensor and
// position origin + n * advance in the dilation group, counted like `position`.
struct NaAxisRange {
  int index, position;
  int base, step, origin, advance;
  int lo, hi;
  bool inside, live;  // whether the tensor has the row; and the sample, too
};

template <bool KEYS>
inline NaAxisRange na_axis_range(
    constant NaAxis& a, int length, int unit, int rows, int row) {
  NaAxisRange r;
  NaOrigin o;
  if (!KEYS && a.step != 1) {  // a row is an output
    r.index = unit * rows + row;
    r.inside = r.index < a.outputs;
    int at = min(r.index, a.outputs) * a.step;
    r.live = r.inside && a.query_first + at < length;
    o = na_origin(a, a.query_first, at);
    r.position = o.shift;
  } else {
    int first = KEYS ? a.key_first : a.query_first;
    int local = a.dilation == 1 ? 0 : unit % a.dilation;
    r.position = (a.dilation == 1 ? unit : unit / a.dilation) * rows + row;
    r.index = local + r.position * a.dilation;
    r.inside = r.index < (KEYS ? a.keys : a.queries);
    r.live = r.inside && first + r.index < length;
    o = na_origin(a, first, local);
    r.position += o.shift;
  }
  NaHeld met =
      KEYS ? na_held_queries(a, o.residue) : na_held_keys(a, o.residue);
  r.base = KEYS && a.step != 1 ? 0 : met.base;
  r.step = a.dilation;
  r.origin = 0;
  r.advance = 1;
  r.lo = 0;
  r.hi = 0;
  int group = na_group_length(a, length, o.residue);
  if (r.live && !KEYS) {
    NaReach reach = na_reach(a, met, group, r.position);
    r.lo = reach.lo;
    r.hi = reach.hi;
  } else if (r.live && a.step == 1) {
    int2 seen = na_seen_by(a, met, group, r.position);
    r.lo = seen.x;
    r.hi = seen.y;
  } else if (r.live) {
    NaQueries q = na_inverse_range(a, length, r.index);
    r.base = q.first;
    r.step = q.step;
    r.hi = q.count;
    r.origin = na_output_position(a, q.first) - met.shift;
    r.advance = q.step * a.step / a.dilation;
  }
  r.position -= met.shift;
  return r;
}

// For an axis that the problem lacks.
inline NaAxisRange na_no_axis() {
  NaAxisRange r;
  r.index = 0;
  r.position = 0;
  r.base = 0;
  r.step = 1;
  r.origin = 0;
  r.advance = 1;
  r.lo = 0;
  r.hi = 1;
  r.inside = true;
  r.live = true;
  return r;
}

inline bool na_has(NaAxisRange r, int n) { return n >= r.lo && n < r.hi; }

// The lane's own row along each axis.
template <int A>
struct NaOwn {
  NaAxisRange x[3];
  bool inside, live;
};

template <bool KEYS, int A>
inline NaOwn<A> na_own(constant NaParams& p, constant int* sizes, NaTile w) {
  NaOwn<A> own;
  own.inside = true;
  own.live = true;
  NA_UNROLL
  for (int i = 0; i < 3; i++) {
    if (i < 3 - A) {
      own.x[i] = na_no_axis();
      continue;
    }
    own.x[i] = na_axis_range<KEYS>(p.axis[i],
                                   na_length(p, sizes, w.batch, i),
                                   w.unit[i],
                                   w.rows[i],
                                   w.row[i]);
    own.inside = own.inside && own.x[i].inside;
    own.live = own.live && own.x[i].live;
  }
  own.x[2].hi = own.live ? own.x[2].hi : own.x[2].lo;
  return own;
}

// Offset of slot i's row in the tensor at buffer t + 1. For rows that the
// sample lacks, that of the first row; the result is masked.
template <typename Off, int G, int R, int A>
inline Off na_row_at(
    constant NaParams& p, int t, NaOwn<A> own, bool exists, int i) {
  int i1 = exists ? own.x[1].index : 0, i2 = exists ? own.x[2].index : 0;
  int i0 = exists ? own.x[0].index : 0;
  return na_at<Off>(p,
                    t,
                    A < 3 ? 0 : na_slot<G, R>(i0, i),
                    A < 2 ? 0 : na_slot<G, R>(i1, i),
                    na_slot<G, R>(i2, i));
}

// The union first <= n < end of what several rows see.
struct NaRange {
  int first, end;
};

// That of the lane group along axis 2; an empty one begins at 0.
template <int G, int R>
inline NaRange na_group_range(NaAxisRange s) {
  NaRange u;
  u.first = s.hi > s.lo ? s.lo : 0x7fffffff;
  u.end = s.hi > s.lo ? s.hi : 0;
  NA_UNROLL
  for (int i = 1; i < R; i *= 2) {
    u.first = min(u.first, na_slot<G, R>(u.first, i));
    u.end = max(u.end, na_slot<G, R>(u.end, i));
  }
  u.first = min(u.first, u.end);
  return u;
}

// The last n of the lane group along another axis.
template <int G, int R>
inline int na_group_top(NaAxisRange s) {
  int end = s.hi;
  NA_UNROLL
  for (int i = 1; i < R; i *= 2) {
    end = max(end, na_slot<G, R>(end, i));
  }
  return max(end - 1, 0);
}

// That of the simdgroup, so that all its lanes execute every shuffle.
inline NaRange na_simd_range(NaAxisRange s) {
  NaRange u;
  u.first = simd_min(s.hi > s.lo ? s.lo : 0x7fffffff);
  u.end = simd_max(s.hi);
  return u;
}

// The part of a line along axis 2 that a lane group walks: n = first, first +
// 1, ... count is the same for the simdgroup, so the last ones may be beyond
// top. The lane's own row sees those with n - lo < seen as unsigned integers.
struct NaLineRange {
  int first, count, top;
  int lo;
  uint seen;
};

inline NaLineRange na_line_range(NaRange u, NaAxisRange s) {
  NaLineRange c;
  c.first = u.first;
  c.count = simd_max(u.end - u.first);
  c.top = max(u.end - 1, 0);
  c.lo = s.lo;
  c.seen = uint(s.hi - s.lo);
  return c;
}

// The additional tokens as a line that all rows see.
inline NaLineRange na_line_range_of_tokens(constant NaParams& p, bool sees) {
  NaLineRange c;
  c.first = 0;
  c.count = p.extra;
  c.top = p.extra - 1;
  c.lo = 0;
  c.seen = sees ? uint(p.extra) : 0u;
  return c;
}

// Offset of the relative position bias of this lane's own key and the first
// query of the line at n0 and n1.
template <typename Off, int A>
inline Off na_bias_of(constant NaParams& p, NaOwn<A> own, int n0, int n1) {
  return na_bias_at<Off>(
      p,
      3,
      own.x[0].position - own.x[0].origin - n0 * own.x[0].advance,
      own.x[1].position - own.x[1].origin - n1 * own.x[1].advance,
      own.x[2].position - own.x[2].origin);
}

inline bool na_sees_at(NaLineRange c, int n) { return uint(n - c.lo) < c.seen; }

// The lines that a simdgroup walks: n0 and n1 along axes 0 and 1. A lane group
// whose own lines end earlier reads its last line, at top0 or top1, again.
struct NaLines {
  NaRange u0, u1;
  int top0, top1, n0, n1;
};

template <int G, int R, int A>
inline NaLines na_lines(NaOwn<A> own) {
  NaLines w;
  w.u0.first = 0;
  w.u0.end = 1;
  w.top0 = 0;
  w.u1 = w.u0;
  w.top1 = 0;
  if (A > 2) {
    w.u0 = na_simd_range(own.x[0]);
    w.top0 = na_group_top<G, R>(own.x[0]);
  }
  if (A > 1) {
    w.u1 = na_simd_range(own.x[1]);
    w.top1 = na_group_top<G, R>(own.x[1]);
  }
  w.n0 = w.u0.first;
  w.n1 = w.u1.first;
  return w;
}

// With three axes, whose lines are short, the first element of a line is loaded
// while the line before it is processed.
#define NA_AHEAD(A) ((A) == 3)

inline bool na_more(NaLines w) { return w.n0 < w.u0.end && w.n1 < w.u1.end; }

inline NaLines na_after(NaLines w) {
  bool same = w.n1 + 1 < w.u1.end;
  w.n1 = same ? w.n1 + 1 : w.u1.first;
  w.n0 = same ? w.n0 : w.n0 + 1;
  return w;
}

// Offset of a line's n = 0 in the tensor at buffer t + 1.
template <typename Off, int A>
inline Off na_line_at(constant NaParams& p, int t, NaOwn<A> own, NaLines w) {
  return na_at<Off>(p,
                    t,
                    own.x[0].base + min(w.n0, w.top0) * own.x[0].step,
                    own.x[1].base + min(w.n1, w.top1) * own.x[1].step,
                    own.x[2].base);
}

template <int A>
inline bool na_has(NaOwn<A> own, NaLines w) {
  return na_has(own.x[0], w.n0) && na_has(own.x[1], w.n1);
}

// A line of keys or additional tokens: addresses of the lane's first channel at
// n = 0, and the steps between neighbors. bias belongs to the lane's own query;
// for keys that this query does not see it may lie outside the tensor.
template <typename T, typename Off>
struct NaKeyLine {
  device const T *key, *value, *bias;
  Off key_step, value_step, bias_step;
};

// Line w of the tensors at buffers 2, 3 and 4, whose first elements x has.
template <typename T, typename Off, int A>
inline NaKeyLine<T, Off> na_key_line(constant NaParams& p,
                                     NaKeyLine<T, Off> x,
                                     NaOwn<A> own,
                                     NaLines w) {
  x.key += na_line_at<Off>(p, 1, own, w);
  x.value += na_line_at<Off>(p, 2, own, w);
  x.bias += na_bias_at<Off>(p,
                            3,
                            w.n0 - own.x[0].position,
                            w.n1 - own.x[1].position,
                            -own.x[2].position);
  return x;
}

template <typename T, typename Off>
inline NaKeyLine<T, Off> na_keys_of(constant NaParams& p,
                                    int batch,
                                    int head,
                                    NaAxisRange s,
                                    device const T* key,
                                    device const T* value) {
  NaKeyLine<T, Off> x;
  x.key = key + na_base(p, 1, batch, head / p.group);
  x.value = value + na_base(p, 2, batch, head / p.group);
  x.bias = key;  // not read
  x.key_step = na_at<Off>(p, 1, 0, 0, s.step);
  x.value_step = na_at<Off>(p, 2, 0, 0, s.step);
  x.bias_step = 0;
  return x;
}

template <typename T, typename Off>
inline NaKeyLine<T, Off> na_keys_of(constant NaParams& p,
                                    int batch,
                                    int head,
                                    NaAxisRange s,
                                    device const T* key,
                                    device const T* value,
                                    device const T* rpb) {
  NaKeyLine<T, Off> x = na_keys_of<T, Off>(p, batch, head, s, key, value);
  x.bias = rpb + na_base(p, 3, 0, head);
  x.bias_step = na_at<Off>(p, 3, 0, 0, 1);
  return x;
}

template <typename T, typename Off>
inline NaKeyLine<T, Off> na_tokens_of(constant NaParams& p,
                                      int batch,
                                      int head,
                                      device const T* key,
                                      device const T* value) {
  NaKeyLine<T, Off> x;
  x.key = key + na_base(p, 4, batch, head / p.group);
  x.value = value + na_base(p, 5, batch, head / p.group);
  x.bias = key;  // not read
  x.key_step = na_at<Off>(p, 4, 0, 0, 1);
  x.value_step = na_at<Off>(p, 5, 0, 0, 1);
  x.bias_step = 0;
  return x;
}
