// SPDX-License-Identifier: MIT
//
// The window rule of core/window.go, in positions of one dilation group.
#pragma once
#include "na_types.h"

// The keys lo <= p < hi that a query sees; slot t of the window is start + t.
struct NaReach {
  int start, lo, hi;
};

// Outputs first + n * step, n < count.
struct NaQueries {
  int first, step, count;
};

inline int na_group_length(constant NaAxis& a, int length, int residue) {
  return a.dilation == 1 ? length
                         : (length - residue + a.dilation - 1) / a.dilation;
}

// The first of the queries that share a leader with the query at `position`.
inline int na_stride_first(constant NaAxis& a, int position) {
  return a.stride == 1 ? position : position / a.stride * a.stride;
}

inline NaReach na_reach(constant NaAxis& a, int group, int position) {
  NaReach r;
  int first = na_stride_first(a, position);
  if (a.causal != 0) {
    int leader = min(first + a.stride - 1, group - 1);
    r.start = leader - a.slots + 1;
    r.lo = max(r.start, 0);
    r.hi = position + 1;
    r.start = a.mask_first != 0 ? r.start : r.lo;
    return r;
  }
  int leader = min(first + a.stride / 2, group - 1);
  r.start = min(max(leader - a.slots / 2, 0), group - a.slots);
  r.lo = r.start;
  r.hi = r.start + a.slots;
  return r;
}

// First and last position of the queries that see the key at position p.
inline int2 na_seen_by(constant NaAxis& a, int group, int p) {
  int first = 0, last = group - 1;
  if (a.causal != 0) {
    if (p + a.slots - 1 < last) {
      last = min(na_stride_first(a, p + a.slots), group) - 1;
    }
    return int2(p, last);
  }
  int left = a.slots / 2, center = a.stride / 2;
  if (p < group - a.slots) {
    last = min(na_stride_first(a, p + left - center) + a.stride, group) - 1;
  }
  if (p >= a.slots) {
    first = na_stride_first(a, p - a.slots + 1 + left - center + a.stride - 1);
  }
  return int2(first, last);
}

inline int na_gcd(int a, int b) {
  while (b != 0) {
    int rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

// Outputs whose query sees the key at index `key` of an axis of that length.
inline NaQueries na_inverse(constant NaAxis& a, int length, int key) {
  NaQueries q;
  int residue = a.dilation == 1 ? 0 : key % a.dilation;
  int p = a.dilation == 1 ? key : key / a.dilation;
  int2 seen = na_seen_by(a, na_group_length(a, length, residue), p);
  if (a.step == 1) {
    q.first = residue + seen.x * a.dilation;
    q.step = a.dilation;
    q.count = seen.y - seen.x + 1;
    return q;
  }
  int period = a.step / na_gcd(a.step, a.dilation);
  q.first = 0;
  q.step = 1;
  q.count = 0;
  for (int f = seen.x; f <= min(seen.y, seen.x + period - 1); f++) {
    int index = residue + f * a.dilation;
    if (index % a.step == 0) {
      q.first = index / a.step;
      q.step = period * a.dilation / a.step;
      q.count = (seen.y - f) / period + 1;
      return q;
    }
  }
  return q;
}
