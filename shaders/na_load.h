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

// First channel of chunk i, counted from that of chunk 0. Neighboring chunks
// make one load of 16 bytes if all lanes have pairs of them.
template <int D, int G, int VEC>
inline int na_channel(int i) {
  return VEC == 8 && D % (8 * G) == 0 ? 8 * G * (i / 2) + 4 * (i % 2)
                                      : 4 * G * i;
}

// First channel of a lane.
template <int D, int G, int VEC>
inline int na_first(int lane) {
  return VEC == 8 && D % (8 * G) == 0 ? 8 * lane : 4 * lane;
}

// Four channels as stored in memory.
template <typename T>
struct NaChunk {
  typedef ushort word;
  typedef ushort4 type;
};
template <>
struct NaChunk<float> {
  typedef float word;
  typedef float4 type;
};

// A lane's N chunks of a row, loaded ahead of use: elements of 16 bits take
// half the registers until they are converted.
template <typename T, int N>
struct NaPacked {
  typename NaChunk<T>::type v[N];
};

// A bfloat is the upper half of a float; before Apple9 its conversion is
// emulated.
template <typename T>
inline float4 na_floats(typename NaChunk<T>::type bits);
template <>
inline float4 na_floats<bfloat>(ushort4 bits) {
  return as_type<float4>(uint4(bits) << 16u);
}
template <>
inline float4 na_floats<half>(ushort4 bits) {
  return float4(as_type<half4>(bits));
}
template <>
inline float4 na_floats<float>(float4 bits) {
  return bits;
}

inline void na_read8(device const ushort* p,
                     thread ushort4& x,
                     thread ushort4& y) {
  uint4 bits = *(device const uint4*)p;
  x = as_type<ushort4>(bits.xy);
  y = as_type<ushort4>(bits.zw);
}
inline void na_read8(device const float* p,
                     thread float4& x,
                     thread float4& y) {
  x = *(device const float4*)p;
  y = *(device const float4*)(p + 4);
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

// Loads a row; `own` is the address of the lane's first channel.
template <int D, int G, int VEC, typename T, int N>
inline void na_fetch(device const T* own, int lane, thread NaPacked<T, N>& x) {
  typedef typename NaChunk<T>::word Word;
  typedef typename NaChunk<T>::type Chunk;
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    int at = na_channel<D, G, VEC>(i), c = at + na_first<D, G, VEC>(lane);
    if (VEC == 8 && D % (8 * G) == 0) {
      if (i % 2 == 0) {
        na_read8((device const Word*)(own + at), x.v[i], x.v[(i + 1) % N]);
      }
      continue;
    }
    x.v[i] = Chunk(0);
    if (D % (4 * G) != 0 && c >= D) {
      continue;
    }
    if (VEC > 1) {
      x.v[i] = *(device const Chunk*)(own + at);
      continue;
    }
    NA_UNROLL
    for (int j = 0; j < 4; j++) {
      if (D % 4 == 0 || c + j < D) {
        x.v[i][j] = ((device const Word*)own)[at + j];
      }
    }
  }
}

template <typename T, int N>
inline void na_unpack(thread const NaPacked<T, N>& x, thread NaRow<N>& y) {
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    y.v[i] = na_floats<T>(x.v[i]);
  }
}

template <int D, int G, int VEC, typename T, int N>
inline void na_load(device const T* row, int lane, thread NaRow<N>& x) {
  NaPacked<T, N> packed;
  na_fetch<D, G, VEC>(row + na_first<D, G, VEC>(lane), lane, packed);
  na_unpack<T>(packed, x);
}

template <int D, int G, int VEC, typename T, int N>
inline void na_store(device T* row,
                     int lane,
                     thread const NaRow<N>& x,
                     float factor) {
  NA_UNROLL
  for (int i = 0; i < N; i++) {
    int c = na_channel<D, G, VEC>(i) + na_first<D, G, VEC>(lane);
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

// This lane's part of the dot product a.b.
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

// Sum over the lanes of a lane group; every lane gets the same bits.
template <int G>
inline float na_group_sum(float x) {
  NA_UNROLL
  for (int m = 1; m < G; m *= 2) {
    x += simd_shuffle_xor(x, ushort(m));
  }
  return x;
}
