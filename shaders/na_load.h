// SPDX-License-Identifier: MIT
//
// Rows of channels in registers. A row of D channels is spread over the G lanes
// of a lane group in chunks of 4: lane l holds chunks l, l + G, l + 2G, ...
#pragma once
#include "na_types.h"

#define NA_CHUNKS(D, G) (((D) + 4 * (G) - 1) / (4 * (G)))

// A lane's N chunks of a row.
template <int N>
struct NaRow {
  float4 v[N];
};

inline float4 na_read4(device const float* p) { return *(device const float4*)p; }
inline float4 na_read4(device const half* p) { return float4(*(device const half4*)p); }
// A bfloat is the upper half of a float; before Apple9 its conversion is emulated.
inline float4 na_read4(device const bfloat* p) {
  return as_type<float4>(uint4(*(device const ushort4*)p) << 16u);
}
inline void na_write4(device float* p, float4 v) { *(device float4*)p = v; }
inline void na_write4(device half* p, float4 v) { *(device half4*)p = half4(v); }
inline void na_write4(device bfloat* p, float4 v) {
  *(device ushort4*)p = ushort4(as_type<ushort>(bfloat(v.x)), as_type<ushort>(bfloat(v.y)),
                                as_type<ushort>(bfloat(v.z)), as_type<ushort>(bfloat(v.w)));
}

// VEC: rows are aligned to 4 elements and D is a multiple of 4.
template <int D, int G, bool VEC, typename T>
inline float4 na_chunk(device const T* row, int i, int lane) {
  int c = 4 * (lane + G * i);
  if (D % (4 * G) != 0 && c >= D) {
    return float4(0.0f);
  }
  if (VEC) {
    return na_read4(row + c);
  }
  float4 v = float4(0.0f);
  for (int j = 0; j < 4; j++) {
    if (D % 4 == 0 || c + j < D) {
      v[j] = float(row[c + j]);
    }
  }
  return v;
}

template <int D, int G, bool VEC, typename T, int N>
inline void na_load(device const T* row, int lane, thread NaRow<N>& x) {
  for (int i = 0; i < N; i++) {
    x.v[i] = na_chunk<D, G, VEC>(row, i, lane);
  }
}

template <int D, int G, bool VEC, typename T, int N>
inline void na_store(device T* row, int lane, thread const NaRow<N>& x, float factor) {
  for (int i = 0; i < N; i++) {
    int c = 4 * (lane + G * i);
    if (D % (4 * G) != 0 && c >= D) {
      continue;
    }
    float4 v = x.v[i] * factor;
    if (VEC) {
      na_write4(row + c, v);
      continue;
    }
    for (int j = 0; j < 4; j++) {
      if (D % 4 == 0 || c + j < D) {
        row[c + j] = T(v[j]);
      }
    }
  }
}

template <int N>
inline void na_clear(thread NaRow<N>& x) {
  for (int i = 0; i < N; i++) {
    x.v[i] = float4(0.0f);
  }
}

// This lane's part of a.b.
template <int N>
inline float na_dot(thread const NaRow<N>& a, thread const NaRow<N>& b) {
  float s = 0.0f;
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < 4; j++) {
      s = fma(a.v[i][j], b.v[i][j], s);
    }
  }
  return s;
}

// y += f * x
template <int N>
inline void na_axpy(float f, thread const NaRow<N>& x, thread NaRow<N>& y) {
  for (int i = 0; i < N; i++) {
    y.v[i] = fma(float4(f), x.v[i], y.v[i]);
  }
}

template <int N>
inline void na_scale(thread NaRow<N>& x, float f) {
  for (int i = 0; i < N; i++) {
    x.v[i] *= f;
  }
}

// Sum over the lanes of a lane group, the same bits in each.
template <int G>
inline float na_group_sum(float x) {
  for (int m = 1; m < G; m *= 2) {
    x += simd_shuffle_xor(x, ushort(m));
  }
  return x;
}
