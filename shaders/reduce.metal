// SPDX-License-Identifier: MIT
//
// Adds partial sums, [splits, dims...], in order and stores them in a tensor of
// four dimensions.
#include "na_types.h"

template <typename T, typename Off, int VEC>
[[kernel, max_total_threads_per_threadgroup(NA_THREADS)]] void reduce(
    constant NaParams& p [[buffer(0)]],
    device const float* sums [[buffer(1)]],
    device T* out [[buffer(2)]],
    uint i [[thread_position_in_grid]]) {
  int n = int(i), size = p.dims[0] * p.dims[1] * p.dims[2] * p.dims[3];
  if (n >= size) {
    return;
  }
  float sum = 0.0f;
  for (int s = 0; s < p.splits; s++) {
    sum += sums[long(s) * size + n];
  }
  int i3 = n % p.dims[3], i2 = n / p.dims[3] % p.dims[2];
  int i1 = n / p.dims[3] / p.dims[2] % p.dims[1],
      i0 = n / p.dims[3] / p.dims[2] / p.dims[1];
  out[i0 * p.stride[1][0] + i1 * p.stride[1][1] + i2 * p.stride[1][2] +
      i3 * p.stride[1][3]] = T(sum);
}
