// SPDX-License-Identifier: MIT
//
// Fused backward for problems with one axis: all gradients in one launch. A
// threadgroup processes a strip of neighboring keys of one dilation group:
//
//   1. All queries that see them, R per lane group, as in attn_bwd_q. Their
//      weights p and ds are stored in threadgroup memory. Gradients are written
//      only for the queries at the strip's own positions.
//   2. Its keys, R per lane group: dv = sum p * dout, dk = scale * sum ds * q
//
// Weights of queries that two strips need are computed twice. In return, the
// second step needs no dot products, and tensors are read once.
#include "na_gather.h"

#define NA_STRIP_ROWS 4    // R
#define NA_STRIP_SLOTS 16  // per query; a key's slot is its position modulo 16
#define NA_STRIP_PITCH 9   // float4 from a query to the next

// Number of keys in a strip for a number of rows of the lane groups, such that,
// away from the ends of an axis, no more queries than rows see these keys.
inline int na_strip_keys(int rows, int slots) {
  return max((rows - slots + 1) / NA_STRIP_ROWS, 1) * NA_STRIP_ROWS;
}

// Where the weights of this lane's own query are stored.
struct NaWeights {
  threadgroup float2* row;
  bool keeps;
};

inline void na_emit(NaWeights w, NaLineRange c, int n, float2 weights) {
  if (w.keeps && na_sees_at(c, n)) {
    w.row[n % NA_STRIP_SLOTS] = weights;
  }
}

// Gradients of R keys and values.
template <int D, int DV, int G>
struct NaStripKeys {
  NaRow<NA_CHUNKS(D, G)> dk[NA_STRIP_ROWS];
  NaRow<NA_CHUNKS(DV, G)> dv[NA_STRIP_ROWS];
};

// A query and the gradient of its output, loaded ahead of use.
template <typename T, int D, int DV, int G>
struct NaStripQuery {
  NaPacked<T, NA_CHUNKS(D, G)> q;
  NaPacked<T, NA_CHUNKS(DV, G)> dout;
};

// The queries of a strip's dilation group: addresses of the lane's first
// channel, and the steps between neighbors.
template <typename T, typename Off>
struct NaStripLine {
  device const T *query, *d_out;
  Off query_step, d_out_step;
};

template <int VEC, int D, int DV, int G, typename T, typename Off>
inline void na_read(thread NaStripQuery<T, D, DV, G>& x,
                    NaStripLine<T, Off> line,
                    int n,
                    int lane) {
  na_fetch<D, G, VEC>(line.query + Off(n) * line.query_step, lane, x.q);
  na_fetch<DV, G, VEC>(line.d_out + Off(n) * line.d_out_step, lane, x.dout);
}

template <typename T, int D, int DV, int G>
inline void na_scatter(thread NaStripKeys<D, DV, G>& f,
                       thread const NaStripQuery<T, D, DV, G>& x,
                       threadgroup const float4* weights) {
  NaRow<NA_CHUNKS(D, G)> q;
  NaRow<NA_CHUNKS(DV, G)> dout;
  na_unpack<T>(x.q, q);
  na_unpack<T>(x.dout, dout);
  NA_UNROLL
  for (int i = 0; i < NA_STRIP_ROWS; i += 2) {
    float4 w = weights[i / 2];
    na_axpy(w.x, dout, f.dv[i]);
    na_axpy(w.y, q, f.dk[i]);
    na_axpy(w.z, dout, f.dv[i + 1]);
    na_axpy(w.w, q, f.dk[i + 1]);
  }
}

template <typename T, typename Off, int D, int DV, int G, int VEC>
[[kernel, max_total_threads_per_threadgroup(384)]] void attn_bwd_strip(
    constant NaParams& p [[buffer(0)]],
    device const T* query [[buffer(1)]],
    device const T* key [[buffer(2)]],
    device const T* value [[buffer(3)]],
    device const T* out [[buffer(4)]],
    device const float* lse [[buffer(5)]],
    device const T* d_out [[buffer(6)]],
    device const float* d_lse [[buffer(7)]],
    device T* d_query [[buffer(8)]],
    device T* d_key [[buffer(9)]],
    device T* d_value [[buffer(10)]],
    constant int* sizes [[buffer(11)]],
    uint3 tg [[threadgroup_position_in_grid]],
    uint3 threads [[threads_per_threadgroup]],
    uint thread_index [[thread_index_in_threadgroup]]) {
  const int R = NA_STRIP_ROWS;
  threadgroup float4
      weights[(NA_THREADS / G * R + NA_STRIP_SLOTS / 2) * NA_STRIP_PITCH];
  int lane = int(thread_index) % G, g = int(thread_index) / G;
  int batch = int(tg.z) / p.heads, head = int(tg.z) % p.heads;
  constant NaAxis& a = p.axis[2];
  int residue = a.dilation == 1 ? 0 : int(tg.x) % a.dilation;
  int chunk = a.dilation == 1 ? int(tg.x) : int(tg.x) / a.dilation;
  int rows = int(threads.x) / G * R, keys = na_strip_keys(rows, a.slots);
  // Positions in the dilation group: the ends of the tensor and of the sample,
  // the strip's keys, and the queries that see them.
  int all = na_group_length(a, a.length, residue);
  int live = na_group_length(a, na_length(p, sizes, batch, 2), residue);
  int first = chunk * keys, end = min(first + keys, all);
  int seen_end = min(end, live);
  int q_first = first, q_end = end;
  if (first < seen_end) {
    q_first = na_seen_by(a, live, first).x;
    q_end = max(end, na_seen_by(a, live, seen_end - 1).y + 1);
  }
  for (int i = int(thread_index); i < (q_end - q_first) * NA_STRIP_PITCH;
       i += int(threads.x)) {
    weights[i] = float4(0.0f);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  query += na_base(p, 0, batch, head);
  key += na_first<D, G, VEC>(lane);
  value += na_first<DV, G, VEC>(lane);
  out += na_base(p, 3, batch, head);
  lse += na_base(p, 4, batch, head);
  d_out += na_base(p, 5, batch, head);
  d_lse += na_base(p, 6, batch, head);
  d_query += na_base(p, 7, batch, head);
  for (int at = q_first; at < q_end; at += rows) {
    NaOwn<1> own;
    own.x[0] = na_no_axis();
    own.x[1] = own.x[0];
    NaAxisRange s = own.x[0];
    s.position = at + g * R + lane / (G / R);
    s.index = residue + s.position * a.dilation;
    s.base = residue;
    s.step = a.dilation;
    s.live = s.position < min(q_end, live);
    s.hi = 0;
    if (s.live) {
      NaReach reach = na_reach(a, live, s.position);
      s.lo = reach.lo;
      s.hi = reach.hi;
    }
    own.x[2] = s;
    own.live = s.live;
    own.inside = s.position >= first && s.position < end;
    NaLineRange c = na_line_range(na_group_range<G, R>(s), s);
    NaKeyLine<T, Off> line = na_keys_of<T, Off>(p, batch, head, s, key, value);
    line.key += na_at<Off>(p, 1, 0, 0, residue);
    line.value += na_at<Off>(p, 2, 0, 0, residue);
    NaPair<T, D, DV, G> x;
    na_read<VEC>(x, line, c.first, lane);
    NaQueryGradient<D, DV, G, R> f;
    na_begin<3, VEC, Off>(f, p, own, lane, query, out, lse, d_out, d_lse);
    NaWeights sink;
    sink.row = (threadgroup float2*)(weights +
                                     (s.position - q_first) * NA_STRIP_PITCH);
    sink.keeps = lane % (G / R) == 0;
    na_gather_line<false, false, VEC>(f, x, line, line, c, lane, sink);
    NA_UNROLL
    for (int i = 0; i < R; i++) {
      Off row = na_row_at<Off, G, R>(p, 7, own, own.inside, i);
      bool writes = na_slot<G, R>(int(own.inside), i) != 0;
      if (writes && (p.flags & NA_D_FIRST) != 0) {
        na_store<D, G, VEC>(d_query + row, lane, f.dq[i], p.scale);
      }
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  first += g * R;
  if ((p.flags & (NA_D_SECOND | NA_D_THIRD)) == 0 || first >= end) {
    return;
  }
  NaStripKeys<D, DV, G> f;
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    na_clear(f.dk[i]);
    na_clear(f.dv[i]);
  }
  if (first < seen_end) {
    NaStripLine<T, Off> line;
    line.query =
        query + na_first<D, G, VEC>(lane) + na_at<Off>(p, 0, 0, 0, residue);
    line.d_out =
        d_out + na_first<DV, G, VEC>(lane) + na_at<Off>(p, 5, 0, 0, residue);
    line.query_step = na_at<Off>(p, 0, 0, 0, a.dilation);
    line.d_out_step = na_at<Off>(p, 5, 0, 0, a.dilation);
    int n = na_seen_by(a, live, first).x;
    int last = na_seen_by(a, live, min(first + R, seen_end) - 1).y;
    threadgroup const float4* w =
        weights + (n - q_first) * NA_STRIP_PITCH + first % NA_STRIP_SLOTS / 2;
    NaStripQuery<T, D, DV, G> x, y;
    na_read<VEC>(x, line, n, lane);
    int count = last - n + 1;
    for (int pairs = count / 2; pairs > 0; pairs--, n += 2) {
      na_read<VEC>(y, line, n + 1, lane);
      na_scatter(f, x, w);
      na_read<VEC>(x, line, min(n + 2, last), lane);
      na_scatter(f, y, w + NA_STRIP_PITCH);
      w += 2 * NA_STRIP_PITCH;
    }
    if (count % 2 != 0) {
      na_scatter(f, x, w);
    }
  }
  d_key += na_base(p, 8, batch, head);
  d_value += na_base(p, 9, batch, head);
  NA_UNROLL
  for (int i = 0; i < R; i++) {
    int index = residue + (first + i) * a.dilation;
    if (first + i < end && (p.flags & NA_D_SECOND) != 0) {
      na_store<D, G, VEC>(
          d_key + na_at<Off>(p, 8, 0, 0, index), lane, f.dk[i], p.scale);
    }
    if (first + i < end && (p.flags & NA_D_THIRD) != 0) {
      na_store<DV, G, VEC>(
          d_value + na_at<Off>(p, 9, 0, 0, index), lane, f.dv[i], 1.0f);
    }
  }
}
