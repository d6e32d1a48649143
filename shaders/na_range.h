// SPDX-License-Identifier: MIT
//
// Ranges of an axis. A tensor holds the positions from query_first or key_first
// on, and an index counts from its first element. The window rule takes
// positions in a dilation group of the whole axis.
#pragma once
#include "na_window.h"

// For the rows at indices local + n * dilation of a tensor that begins at
// `first`: their dilation group, and the position of n = 0 in it.
struct NaOrigin {
  int residue, shift;
};

inline NaOrigin na_origin(constant NaAxis& a, int first, int local) {
  NaOrigin o;
  int at = first + local;
  o.residue = a.dilation == 1 ? 0 : at % a.dilation;
  o.shift = a.dilation == 1 ? at : at / a.dilation;
  return o;
}

// The positions shift <= p < end of a dilation group that a tensor holds.
// Kernels count from shift on: 0 is at index base, which is inside the tensor
// even if it holds nothing of the group.
struct NaHeld {
  int shift, end, base;
};

inline NaHeld na_held(constant NaAxis& a, int residue, int first, int count) {
  NaHeld h;
  int d = a.dilation, end = first + count;
  h.shift = d == 1 ? first : (first - residue + d - 1) / d;
  h.end = d == 1 ? end : (end - residue + d - 1) / d;
  h.base = residue + h.shift * d - first;
  h.base = h.base < count ? h.base : 0;
  return h;
}

inline NaHeld na_held_keys(constant NaAxis& a, int residue) {
  return na_held(a, residue, a.key_first, a.keys);
}

inline NaHeld na_held_queries(constant NaAxis& a, int residue) {
  return na_held(a, residue, a.query_first, a.queries);
}

// The keys that the query at `position` sees, counted from keys.shift on.
inline NaReach na_reach(constant NaAxis& a,
                        NaHeld keys,
                        int group,
                        int position) {
  NaReach r = na_reach(a, group, position);
  r.start -= keys.shift;
  r.lo -= keys.shift;
  r.hi -= keys.shift;
  return r;
}

// The queries x <= p < y of the range that see the key at `position`, counted
// from queries.shift on.
inline int2 na_seen_by(constant NaAxis& a,
                       NaHeld queries,
                       int group,
                       int position) {
  int2 seen = na_seen_by(a, group, position);
  int lo = max(seen.x, queries.shift) - queries.shift;
  int hi = min(seen.y + 1, queries.end) - queries.shift;
  return lo < hi ? int2(lo, hi) : int2(0, 0);
}

// Outputs of the range whose query sees the key at `index` of the key tensor.
inline NaQueries na_inverse_range(constant NaAxis& a, int length, int index) {
  NaQueries q = na_inverse(a, length, a.key_first + index);
  q.first -= a.query_first / a.step;
  int before = q.first < 0 ? (-q.first + q.step - 1) / q.step : 0;
  q.first += before * q.step;
  q.count = min(q.count - before, (a.outputs - q.first + q.step - 1) / q.step);
  if (q.count <= 0) {
    q.first = 0;
    q.step = 1;
    q.count = 0;
  }
  return q;
}

// Position in its dilation group of the query that belongs to an output.
inline int na_output_position(constant NaAxis& a, int output) {
  return (a.query_first + output * a.step) / a.dilation;
}
