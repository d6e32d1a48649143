// SPDX-License-Identifier: MIT
//
// The parameter block. core/metal/params.go writes the same layout.
#pragma once
#include <metal_stdlib>
using namespace metal;

#define NA_THREADS 128  // per threadgroup, at most
#define NA_TENSORS 12   // per kernel, at most
#define NA_LOG2E 1.44269504088896340736f
#define NA_LN2 0.69314718055994530942f
#define NA_LOWEST (-3.40282347e+38f)  // stands for -infinity in comparisons

enum NaFlags {
  NA_RAGGED = 1,   // sizes holds the lengths of each sample
  NA_LSE = 2,      // lse is written
  NA_D_LSE = 4,    // d_lse is read
  NA_D_FIRST = 8,  // the first of up to three gradients is requested
  NA_D_SECOND = 16,
  NA_CAUSAL = 32,     // some axis is causal: windows have masked slots
  NA_ZERO_MASK = 64,  // which are written as 0, not -infinity
  NA_CELLS = 128,     // av writes gradients of queries, not outputs
  NA_D_THIRD = 256,
};

struct NaAxis {
  int length;   // positions of the whole axis, even if tensors hold fewer
  int outputs;  // computed queries
  int slots;    // size of a window
  int dilation;
  int stride;  // queries that share a leader
  int step;    // only every step-th query is computed
  int causal;
  int mask_first;
  // First position of the axis that the tensors of queries and of keys hold,
  // and the number of positions that they hold.
  int query_first, queries, key_first, keys;
};

// stride[i] belongs to buffer i + 1 and counts elements along batch, the three
// axes, and heads. For a tensor of queries that is indexed by output, strides
// along the axes are multiplied by the query step.
struct NaParams {
  NaAxis axis[3];
  int units[3];  // lane groups along each axis; tiles in the "lanes" design
  int tile[3];   // log2 of the lane groups of a threadgroup along each axis
  int heads;     // places per sample along the grid's z
  int group;     // query heads that share a key/value head
  int extra;     // additional tokens
  int slots;     // size of a window, without additional tokens
  int batch;
  int flags;
  int splits;  // parts into which a sum over queries is divided
  float scale;
  int dims[4];  // sizes of a gradient that is summed over parts
  long stride[NA_TENSORS][5];
};
