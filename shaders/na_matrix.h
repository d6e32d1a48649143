// SPDX-License-Identifier: MIT
//
// The "matrix" design: a simdgroup processes a box of 8 neighboring queries (or
// keys), the rows of 8x8 matrices. It walks the union of what they see, 8 keys
// (or queries) along the last axis at a time, which are the columns. All
// matrices are float.
#pragma once
#include <metal_simdgroup_matrix>
#include "na_walk.h"

typedef simdgroup_matrix<float, 8, 8> NaMatrix;

// A lane holds elements (row, col) and (row, col + 1) of a matrix. Lanes of one
// row differ in bits 0 and 3.
struct NaFragmentPos {
  int row, col;
};

inline NaFragmentPos na_fragment_pos(uint lane) {
  NaFragmentPos s;
  s.row = int(((lane >> 2) & 4) + ((lane >> 1) & 3));
  s.col = int(((lane >> 2) & 2) * 2 + (lane & 1) * 2);
  return s;
}

inline float na_row_max(float x) {
  x = max(x, simd_shuffle_xor(x, ushort(1)));
  return max(x, simd_shuffle_xor(x, ushort(8)));
}

inline float na_row_sum(float x) {
  x += simd_shuffle_xor(x, ushort(1));
  return x + simd_shuffle_xor(x, ushort(8));
}

inline NaMatrix na_zero_matrix() {
  return make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
}

// This lane's two elements. The type of thread_elements() is not documented,
// but its layout is known.
inline thread float2& na_elements(thread NaMatrix& m) {
  return reinterpret_cast<thread float2&>(m.thread_elements());
}

// Two neighboring channels of a row; zeros if the row does not exist.
template <int VEC>
inline float2 na_pair(device const float* p, bool exists) {
  return !exists   ? float2(0.0f)
         : VEC > 1 ? *(device const float2*)p
                   : float2(p[0], p[1]);
}
template <int VEC>
inline float2 na_pair(device const half* p, bool exists) {
  return !exists   ? float2(0.0f)
         : VEC > 1 ? float2(*(device const half2*)p)
                   : float2(float(p[0]), float(p[1]));
}
template <int VEC>
inline float2 na_pair(device const bfloat* p, bool exists) {
  if (!exists) {
    return float2(0.0f);
  }
  if (VEC > 1) {
    return as_type<float2>(uint2(*(device const ushort2*)p) << 16u);
  }
  return float2(float(p[0]), float(p[1]));
}

// N matrices side by side: 8 rows of 8 N channels.
template <int N>
struct NaPanel {
  NaMatrix m[N];
};

template <int N>
inline void na_clear(thread NaPanel<N>& x) {
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    x.m[i] = na_zero_matrix();
  }
}

// Loads this lane's row.
template <int VEC, int N, typename T>
inline void na_load_panel(thread NaPanel<N>& x,
                          device const T* row,
                          bool exists,
                          NaFragmentPos s) {
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    float2 v = na_pair<VEC>(row + 8 * i + s.col, exists);
    na_elements(x.m[i]) = v;
  }
}

template <int N, typename T>
inline void na_store_panel(thread NaPanel<N>& x,
                           device T* row,
                           float factor,
                           NaFragmentPos s) {
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    float2 v = na_elements(x.m[i]) * factor;
    row[8 * i + s.col] = T(v.x);
    row[8 * i + s.col + 1] = T(v.y);
  }
}

// Products of the panel's rows with 8 other rows: element (row, col) is
// x[row] . other[col]. This lane has the addresses of those of its two columns.
template <int N, typename T>
inline float2 na_products(thread NaPanel<N>& x,
                          device const T* other0,
                          device const T* other1,
                          bool exists0,
                          bool exists1,
                          NaFragmentPos s) {
  NaMatrix sum = na_zero_matrix();
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    NaMatrix y;
    na_elements(y) = float2(exists0 ? float(other0[8 * i + s.row]) : 0.0f,
                            exists1 ? float(other1[8 * i + s.row]) : 0.0f);
    simdgroup_multiply_accumulate(sum, x.m[i], y, sum);
  }
  return na_elements(sum);
}

// x[row] += sum over columns of weight(row, col) * other[col]. This lane has
// the address of the other row that has the number of its own row.
template <int VEC, int N, typename T>
inline void na_accumulate(thread NaPanel<N>& x,
                          float2 weight,
                          device const T* other,
                          bool exists,
                          NaFragmentPos s) {
  NaMatrix w;
  na_elements(w) = weight;
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    NaMatrix y;
    float2 v = na_pair<VEC>(other + 8 * i + s.col, exists);
    na_elements(y) = v;
    simdgroup_multiply_accumulate(x.m[i], w, y, x.m[i]);
  }
}

// One axis of a box of rows: `rows` neighbors in a dilation group from
// position start on, and the union first <= p < end of what they see or are
// seen by.
struct NaBox {
  int local, group, start, first, end;
  int origin;  // position of the tensor's first row of the dilation group
  NaHeld met;  // of what they see or are seen by
};

inline NaBox na_box(
    constant NaAxis& a, int length, int unit, int rows, bool of_keys) {
  NaBox b;
  b.local = unit % a.dilation;
  b.start = unit / a.dilation * rows;
  int first = of_keys ? a.key_first : a.query_first;
  NaOrigin o = na_origin(a, first, b.local);
  b.origin = o.shift;
  b.group = na_group_length(a, length, o.residue);
  b.met = of_keys ? na_held_queries(a, o.residue) : na_held_keys(a, o.residue);
  NaHeld own =
      of_keys ? na_held_keys(a, o.residue) : na_held_queries(a, o.residue);
  b.first = 0;
  b.end = 0;
  int at = b.origin + b.start;
  int last = min(at + rows, min(b.group, own.end)) - 1;
  if (last >= at && of_keys) {
    b.first = max(na_seen_by(a, b.group, at).x - b.met.shift, 0);
    b.end = min(na_seen_by(a, b.group, last).y + 1, b.met.end) - b.met.shift;
  } else if (last >= at) {
    b.first = na_reach(a, b.met, b.group, at).lo;
    b.end = na_reach(a, b.met, b.group, last).hi;
  }
  return b;
}

// One axis of one row: where it is, and its own part lo <= p < hi of the union.
struct NaLine {
  int position, index, lo, hi;
  bool inside, live;
};

inline NaLine na_line(
    constant NaAxis& a, int length, NaBox b, int row, bool of_keys) {
  NaLine r;
  int position = b.origin + b.start + row;
  r.position = position - b.met.shift;
  r.index = b.local + (b.start + row) * a.dilation;
  r.inside = r.index < (of_keys ? a.keys : a.queries);
  r.live =
      r.inside && (of_keys ? a.key_first : a.query_first) + r.index < length;
  r.lo = 0;
  r.hi = 0;
  if (r.live && of_keys) {
    int2 seen = na_seen_by(a, b.met, b.group, position);
    r.lo = seen.x;
    r.hi = seen.y;
  } else if (r.live) {
    NaReach reach = na_reach(a, b.met, b.group, position);
    r.lo = reach.lo;
    r.hi = reach.hi;
  }
  return r;
}

inline bool na_within(NaLine r, int position) {
  return position >= r.lo && position < r.hi;
}

// Row r of a box of 8 / (T1 T2), T1 and T2 rows along the axes.
template <int T1, int T2>
struct NaRows {
  NaBox box[3];
  NaLine line[3];
  bool inside, live;
};

template <int T1, int T2>
inline NaRows<T1, T2> na_rows(constant NaParams& p,
                              constant int* sizes,
                              NaPlace w,
                              int row,
                              bool of_keys) {
  NaRows<T1, T2> r;
  int rows[3] = {8 / (T1 * T2), T1, T2};
  int at[3] = {row / (T1 * T2), row / T2 % T1, row % T2};
  r.inside = true;
  r.live = true;
  NA_UNROLL
  for (int i = 0; i < 3; i++) {
    int length = na_length(p, sizes, w.batch, i);
    r.box[i] = na_box(p.axis[i], length, w.unit[i], rows[i], of_keys);
    r.line[i] = na_line(p.axis[i], length, r.box[i], at[i], of_keys);
    r.inside = r.inside && r.line[i].inside;
    r.live = r.live && r.line[i].live;
  }
  return r;
}

inline int na_index(constant NaParams& p, NaBox b, int axis, int position) {
  return b.met.base + position * p.axis[axis].dilation;
}
