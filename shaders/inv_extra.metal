// SPDX-License-Identifier: MIT
//
// Split backward, partial sums of the gradient of additional keys or values:
// the sum over queries of attn * row, at the slot of one token. The grid is
// that of attn_bwd_extra.
#include "na_sum.h"

template <typename T, typename Off, int D, int G, int VEC>
[[kernel, max_total_threads_per_threadgroup(32)]] void inv_extra(
    constant NaParams& p [[buffer(0)]],
    device const T* row [[buffer(1)]],
    device const T* attn [[buffer(2)]],
    device float* sums [[buffer(3)]],
    constant int* sizes [[buffer(4)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  int lane = int(thread_index) % G, groups = 32 / G;
  int batch = int(tg.z) / p.heads, kv = int(tg.z) % p.heads, token = int(tg.x);
  int outputs = p.axis[0].outputs * p.axis[1].outputs * p.axis[2].outputs;
  NaRow<NA_CHUNKS(D, G)> sum;
  na_clear(sum);
  int2 part = na_part(p, outputs, int(tg.y));
  for (int g = 0; g < p.group; g++) {
    int head = kv * p.group + g;
    for (int n = part.x + int(thread_index) / G; n < part.y; n += groups) {
      NaRowAt at = na_row(p, sizes, batch, n, true);
      if (at.live) {
        NaRow<NA_CHUNKS(D, G)> x;
        na_load<D, G, VEC>(row + na_base(p, 0, batch, head) +
                               na_at<Off>(p, 0, at.o[0], at.o[1], at.o[2]),
                           lane,
                           x);
        na_axpy(float(attn[na_base(p, 1, batch, head) +
                           na_at<Off>(p, 1, at.o[0], at.o[1], at.o[2]) +
                           p.slots + token]),
                x,
                sum);
      }
    }
  }
  na_sum_groups<G>(sum);
  if (int(thread_index) < G) {
    long at = (long(tg.y) * p.batch + batch) * p.extra + token;
    na_store<D, G, VEC>(sums + (at * p.heads + kv) * D, lane, sum, p.scale);
  }
}
