// SPDX-License-Identifier: MIT
//
// Split backward, partial sums of the gradient of the relative position bias:
// the sum of d_attn over all queries and one relative position. The grid is
// that of attn_bwd_rpb.
#include "na_sum.h"

template <typename T, typename Off, int VEC>
[[kernel, max_total_threads_per_threadgroup(32)]] void inv_rpb(
    constant NaParams& p [[buffer(0)]],
    device const T* attn [[buffer(1)]],
    device float* sums [[buffer(2)]],
    constant int* sizes [[buffer(3)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint3 grid [[threadgroups_per_grid]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  int head = int(tg.z), cell = int(tg.x);
  int outputs = p.axis[0].outputs * p.axis[1].outputs * p.axis[2].outputs;
  float sum = 0.0f;
  int2 part = na_part(p, outputs * p.batch, int(tg.y));
  for (int row = part.x + int(thread_index); row < part.y; row += 32) {
    NaRowAt at = na_row(p, sizes, 0, row, true);
    NaRelative rel = na_relative(p, sizes, at, cell);
    if (rel.seen) {
      sum +=
          float(attn[na_base(p, 0, at.batch, head) +
                     na_at<Off>(p, 0, at.o[0], at.o[1], at.o[2]) + rel.slot]);
    }
  }
  sum = simd_sum(sum);
  if (thread_index == 0) {
    sums[(long(tg.y) * grid.z + head) * grid.x + cell] = sum;
  }
}
