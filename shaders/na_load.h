// SPDX-License-Identifier: MIT
//
// Rows of channels in registers. A row of D channels is spread over the G lanes
// of a lane group, in chunks of 4 channels; VEC is the number of elements to
// which rows are aligned: 1, 4, or 8 for 16-bit elements, and D is a multiple
// of it.
#pragma once
#include "na_types.h"

#define NA_UNROLL _Pragma("clang loop unroll(full)")
#define NA_CHUNKS(D, G) (((D) + 4 * (G) - 1) / (4 * (G)))

// A lane's N chunks of a row.
template <int N>
struct NaRow {
  float4 v[N];
};

// First channel of chunk i. Neighbouring chunks make one load of 16 bytes if
// all lanes have pairs of them.
template <int D, int G, int VEC>
inline int na_channel(int i, int lane) {
  return VEC == 8 && D % (8 * G) == 0 ? 8 * (lane + G * (i / 2)) + 4 * (i % 2)
                                      : 4 * (lane + G * i);
}

// A bfloat is the upper half of a float; before Apple9 its conversion is
// emulated.
template <typename T>
inline float4 na_floats(ushort4 bits);
template <>
inline float4 na_floats<bfloat>(ushort4 bits) {
  return as_type<float4>(uint4(bits) << 16u);
}
template <>
inline float4 na_floats<half>(ushort4 bits) {
  return float4(as_type<half4>(bits));
}

template <typename T>
inline float4 na_read4(device const T* p) {
  return na_floats<T>(*(device const ushort4*)p);
}
inline float4 na_read4(device const float* p) {
  return *(device const float4*)p;
}

template <typename T>
inline void na_read8(device const T* p, thread float4& x, thread float4& y) {
  uint4 bits = *(device const uint4*)p;
  x = na_floats<T>(as_type<ushort4>(bits.xy));
  y = na_floats<T>(as_type<ushort4>(bits.zw));
}
inline void na_read8(device const float* p,
                     thread float4& x,
                     thread float4& y) {
  x = na_read4(p);
  y = na_read4(p + 4);
}

inline void na_write4(device float* p, float4 v) { *(device float4*)p = v; }
inline void na_write4(device half* p, float4 v) {
  *(device half4*)p = half4(v);
}
inline void na_write4(device bfloat* p, float4 v) {
  *(device ushort4*)p = ushort4(as_type<ushort>(bfloat(v.x)),
                                as_type<ushort>(bfloat(v.y)),
                                as_type<ushort>(bfloat(v.z)),
                                as_type<ushort>(bfloat(v.w)));
}

template <int D, int G, int VEC, typename T, int N>
inline void na_load(device const T* row, int lane, thread NaRow<N>& x) {
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    int c = na_channel<D, G, VEC>(i, lane);
    if (VEC == 8 && D % (8 * G) == 0) {
      if (i % 2 == 0) {
        na_read8(row + c, x.v[i], x.v[(i + 1) % N]);
      }
      continue;
    }
    x.v[i] = float4(0.0f);
    if (D % (4 * G) != 0 && c >= D) {
      continue;
    }
    if (VEC > 1) {
      x.v[i] = na_read4(row + c);
      continue;
    }
    NA_UNROLL
    for (int j = 0; j < 4; j++) {
      if (D % 4 == 0 || c + j < D) {
        x.v[i][j] = float(row[c + j]);
      }
    }
  }
}

template <int D, int G, int VEC, typename T, int N>
inline void na_store(device T* row,
                     int lane,
                     thread const NaRow<N>& x,
                     float factor) {
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    int c = na_channel<D, G, VEC>(i, lane);
    if (D % (4 * G) != 0 && c >= D) {
      continue;
    }
    float4 v = x.v[i] * factor;
    if (VEC > 1) {
      na_write4(row + c, v);
      continue;
    }
    NA_UNROLL
    for (int j = 0; j < 4; j++) {
      if (D % 4 == 0 || c + j < D) {
        row[c + j] = T(v[j]);
      }
    }
  }
}

template <int N>
inline void na_clear(thread NaRow<N>& x) {
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    x.v[i] = float4(0.0f);
  }
}

// This lane's part of a.b.
template <int N>
inline float na_dot(thread const NaRow<N>& a, thread const NaRow<N>& b) {
  float s = 0.0f;
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    s = fma(a.v[i].x, b.v[i].x, s);
    s = fma(a.v[i].y, b.v[i].y, s);
    s = fma(a.v[i].z, b.v[i].z, s);
    s = fma(a.v[i].w, b.v[i].w, s);
  }
  return s;
}

// y += f * x
template <int N>
inline void na_axpy(float f, thread const NaRow<N>& x, thread NaRow<N>& y) {
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    y.v[i] = fma(float4(f), x.v[i], y.v[i]);
  }
}

template <int N>
inline void na_scale(thread NaRow<N>& x, float f) {
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    x.v[i] *= f;
  }
}

// Sum over the lanes of a lane group, the same bits in each.
template <int G>
inline float na_group_sum(float x) {
  NA_UNROLL
  for (int m = 1; m < G; m *= 2) {
    x += simd_shuffle_xor(x, ushort(m));
  }
  return x;
}
