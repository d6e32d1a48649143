// SPDX-License-Identifier: MIT
//
// The baseline of benchmarks: neighborhood attention as one would first write
// it. Fused forward and backward use one simdgroup per query, with lanes across
// the channels, and one reduction and one softmax step per key. The backward
// pass stores weights and gradients of logits in buffers of queries x keys,
// from which one thread per channel of a key gathers. Tensors are dense:
// [batch, axes..., head, channel].
#include <metal_stdlib>
using namespace metal;

struct TwinParams {
  int length[3], kernel_size[3];
  int causal, heads;
  float scale;
};

struct TwinWindow {
  int start[3], count[3];
};

inline TwinWindow twin_window(constant TwinParams& p, thread const int* at) {
  TwinWindow w;
  for (int i = 0; i < 3; i++) {
    if (p.causal != 0) {
      w.start[i] = max(at[i] - p.kernel_size[i] + 1, 0);
      w.count[i] = at[i] + 1 - w.start[i];
    } else {
      w.start[i] = min(max(at[i] - p.kernel_size[i] / 2, 0),
                       p.length[i] - p.kernel_size[i]);
      w.count[i] = p.kernel_size[i];
    }
  }
  return w;
}

inline long twin_row(
    constant TwinParams& p, int batch, int i0, int i1, int i2, int head) {
  long token =
      ((long(batch) * p.length[0] + i0) * p.length[1] + i1) * p.length[2] + i2;
  return token * p.heads + head;
}

// Grid: x is 32 lanes per position of the last axis, y the other two axes, z
// samples and heads.
template <typename T, int D>
[[kernel]] void twin_forward(constant TwinParams& p [[buffer(0)]],
                             device const T* query [[buffer(1)]],
                             device const T* key [[buffer(2)]],
                             device const T* value [[buffer(3)]],
                             device T* out [[buffer(4)]],
                             device float* lse [[buffer(5)]],
                             uint3 g [[thread_position_in_grid]]) {
  int lane = int(g.x) % 32, batch = int(g.z) / p.heads,
      head = int(g.z) % p.heads;
  int at[3] = {int(g.y) / p.length[1], int(g.y) % p.length[1], int(g.x) / 32};
  TwinWindow w = twin_window(p, at);
  long row = twin_row(p, batch, at[0], at[1], at[2], head);
  float q[D / 32], o[D / 32], m = -3.0e38f, l = 0.0f;
  for (int i = 0; i < D / 32; i++) {
    q[i] = float(query[row * D + lane + 32 * i]);
    o[i] = 0.0f;
  }
  for (int t0 = 0; t0 < w.count[0]; t0++) {
    for (int t1 = 0; t1 < w.count[1]; t1++) {
      for (int t2 = 0; t2 < w.count[2]; t2++) {
        long k = twin_row(p,
                          batch,
                          w.start[0] + t0,
                          w.start[1] + t1,
                          w.start[2] + t2,
                          head) *
                 D;
        float s = 0.0f;
        for (int i = 0; i < D / 32; i++) {
          s += q[i] * float(key[k + lane + 32 * i]);
        }
        s = simd_sum(s) * p.scale;
        float top = max(m, s), fade = exp(m - top), weight = exp(s - top);
        l = l * fade + weight;
        for (int i = 0; i < D / 32; i++) {
          o[i] = o[i] * fade + weight * float(value[k + lane + 32 * i]);
        }
        m = top;
      }
    }
  }
  for (int i = 0; i < D / 32; i++) {
    out[row * D + lane + 32 * i] = T(o[i] / l);
  }
  if (lane == 0) {
    lse[row] = m + log(l);
  }
}

// The same grid; attn and d_attn are [batch, axes..., head, kernel...].
template <typename T, int D>
[[kernel]] void twin_backward(constant TwinParams& p [[buffer(0)]],
                              device const T* query [[buffer(1)]],
                              device const T* key [[buffer(2)]],
                              device const T* value [[buffer(3)]],
                              device const T* out [[buffer(4)]],
                              device const float* lse [[buffer(5)]],
                              device const T* d_out [[buffer(6)]],
                              device T* d_query [[buffer(7)]],
                              device float* attn [[buffer(8)]],
                              device float* d_attn [[buffer(9)]],
                              uint3 g [[thread_position_in_grid]]) {
  int lane = int(g.x) % 32, batch = int(g.z) / p.heads,
      head = int(g.z) % p.heads;
  int at[3] = {int(g.y) / p.length[1], int(g.y) % p.length[1], int(g.x) / 32};
  TwinWindow w = twin_window(p, at);
  long row = twin_row(p, batch, at[0], at[1], at[2], head);
  int slots = p.kernel_size[0] * p.kernel_size[1] * p.kernel_size[2];
  float q[D / 32], d[D / 32], dq[D / 32], delta = 0.0f;
  for (int i = 0; i < D / 32; i++) {
    q[i] = float(query[row * D + lane + 32 * i]);
    d[i] = float(d_out[row * D + lane + 32 * i]);
    delta += d[i] * float(out[row * D + lane + 32 * i]);
    dq[i] = 0.0f;
  }
  delta = simd_sum(delta);
  for (int t0 = 0; t0 < w.count[0]; t0++) {
    for (int t1 = 0; t1 < w.count[1]; t1++) {
      for (int t2 = 0; t2 < w.count[2]; t2++) {
        long k = twin_row(p,
                          batch,
                          w.start[0] + t0,
                          w.start[1] + t1,
                          w.start[2] + t2,
                          head) *
                 D;
        float s = 0.0f, dp = 0.0f;
        for (int i = 0; i < D / 32; i++) {
          s += q[i] * float(key[k + lane + 32 * i]);
          dp += d[i] * float(value[k + lane + 32 * i]);
        }
        float weight = exp(simd_sum(s) * p.scale - lse[row]);
        float ds = weight * (simd_sum(dp) - delta) * p.scale;
        for (int i = 0; i < D / 32; i++) {
          dq[i] += ds * float(key[k + lane + 32 * i]);
        }
        if (lane == 0) {
          long slot = row * slots +
                      (t0 * p.kernel_size[1] + t1) * p.kernel_size[2] + t2;
          attn[slot] = weight;
          d_attn[slot] = ds;
        }
      }
    }
  }
  for (int i = 0; i < D / 32; i++) {
    d_query[row * D + lane + 32 * i] = T(dq[i]);
  }
}

// Grid: x channels, y positions, z samples and heads. Gathers weights * rows.
template <typename T, int D>
[[kernel]] void twin_gather(constant TwinParams& p [[buffer(0)]],
                            device const float* weights [[buffer(1)]],
                            device const T* rows [[buffer(2)]],
                            device T* out [[buffer(3)]],
                            uint3 g [[thread_position_in_grid]]) {
  int c = int(g.x), batch = int(g.z) / p.heads, head = int(g.z) % p.heads;
  int at[3] = {int(g.y) / p.length[2] / p.length[1],
               int(g.y) / p.length[2] % p.length[1],
               int(g.y) % p.length[2]};
  int first[3], last[3];
  for (int i = 0; i < 3; i++) {
    int k = p.kernel_size[i], n = p.length[i];
    if (p.causal != 0) {
      first[i] = at[i];
      last[i] = min(at[i] + k - 1, n - 1);
    } else {
      first[i] = at[i] < k ? 0 : at[i] - k + 1 + k / 2;
      last[i] = at[i] >= n - k ? n - 1 : at[i] + k / 2;
    }
  }
  int slots = p.kernel_size[0] * p.kernel_size[1] * p.kernel_size[2];
  float sum = 0.0f;
  for (int i0 = first[0]; i0 <= last[0]; i0++) {
    for (int i1 = first[1]; i1 <= last[1]; i1++) {
      for (int i2 = first[2]; i2 <= last[2]; i2++) {
        int query[3] = {i0, i1, i2};
        TwinWindow w = twin_window(p, query);
        long row = twin_row(p, batch, i0, i1, i2, head);
        long slot =
            row * slots +
            ((at[0] - w.start[0]) * p.kernel_size[1] + at[1] - w.start[1]) *
                p.kernel_size[2] +
            at[2] - w.start[2];
        sum += weights[slot] * float(rows[row * D + c]);
      }
    }
  }
  out[twin_row(p, batch, at[0], at[1], at[2], head) * D + c] = T(sum);
}
