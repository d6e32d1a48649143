// SPDX-License-Identifier: MIT
//
// The same in C++, with grouped queries, heads-first memory, and an error.
#include <cstdio>
#include <vector>

#include <natten_mps.hpp>

int main() {
  constexpr std::int64_t length = 64, heads = 4, kv_heads = 2, dim = 16;
  std::vector<float> q(length * heads * dim, 0.5f), kv(length * kv_heads * dim);
  std::vector<float> out(q.size()), out_first(q.size());
  for (std::size_t i = 0; i < kv.size(); i++) kv[i] = float(i % 13);

  // [batch, length, heads, dim], dense
  natten_mps::tensor_view<float> query(q.data(), {1, length, heads, dim});
  natten_mps::tensor_view<const float> key(kv.data(),
                                           {1, length, kv_heads, dim});
  natten_mps::tensor_view<float> result(out.data(), {1, length, heads, dim});
  // the same shape, in memory with the order [batch, heads, length, dim]
  natten_mps::tensor_view<float> heads_first(
      out_first.data(),
      {1, length, heads, dim},
      {heads * length * dim, dim, length * dim, 1});

  natten_mps::options options;
  options.dilation = 2;
  options.causal = true;
  natten_mps::attention(query, key, key, result, 7, options);
  natten_mps::attention(query, key, key, heads_first, 7, options);
  std::printf("position 3, head 1, channel 0: %g, heads first %g\n",
              out[(3 * heads + 1) * dim],
              out_first[(1 * length + 3) * dim]);
  if (out[(3 * heads + 1) * dim] != out_first[(1 * length + 3) * dim]) return 1;

  try {
    natten_mps::attention(query, key, key, result, 33, options);
  } catch (const natten_mps::error& e) {
    std::printf("as expected: %s\n", e.what());
    return e.status() == NATTEN_MPS_INVALID_ARGUMENT ? 0 : 1;
  }
  return 1;
}
