// SPDX-License-Identifier: MIT
//
// The C++ wrapper: ownership, types, and errors that the wrapper detects.
#include <cmath>
#include <cstdio>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "natten_mps.hpp"

namespace {

int failures = 0;

void check(bool good, const char* what, int line) {
  if (!good) {
    std::fprintf(stderr, "wrapper.cc:%d: %s\n", line, what);
    failures++;
  }
}
#define CHECK(condition) check(condition, #condition, __LINE__)

template <class Function>
std::string message_of(Function&& function) {
  try {
    function();
  } catch (const natten_mps::error& e) {
    return e.what();
  }
  return "";
}

using view = natten_mps::tensor_view<float>;

void test_plans() {
  natten_mps::problem p;
  p.op = NATTEN_MPS_QK_FORWARD;
  p.dtype = natten_mps::dtype_of<double>::value;
  p.rank = 1;
  p.batch = p.heads = p.head_dim = 1;
  p.axes[0].length = 4;
  p.axes[0].kernel = 3;
  natten_mps::plan first(p, "reference");
  natten_mps::plan second(std::move(first));
  natten_mps::args a;
  CHECK(message_of([&] { first.run(a); }).find("never made") !=
        std::string::npos);
  CHECK(message_of([&] { second.run(a); }) ==
        "query is NULL (qk_forward needs it)");
  CHECK(std::string(second.info().backend) == "reference");
  std::vector<double> ones(4, 1), keys{0, 1, 2, 3}, attn(12);
  a.query = natten_mps::tensor_view<double>(ones.data(), {1, 4, 1, 1});
  a.key = natten_mps::tensor_view<const double>(keys.data(), {1, 4, 1, 1});
  a.attn = natten_mps::tensor_view<double>(attn.data(), {1, 4, 1, 3});
  first = std::move(second);
  first.run(a);
  CHECK((attn == std::vector<double>{0, 1, 2, 0, 1, 2, 1, 2, 3, 1, 2, 3}));
  static_assert(!std::is_copy_constructible_v<natten_mps::plan>);
}

void test_half_types() {
  // 1.0 and 2.0 as float16 and bfloat16; every value is the same.
  std::vector<natten_mps::float16> half(8, {0x3c00}), half_out(8);
  std::vector<natten_mps::bfloat16> brain(8, {0x4000}), brain_out(8);
  natten_mps::tensor_view<natten_mps::float16> h(half.data(), {1, 4, 1, 2});
  natten_mps::tensor_view<natten_mps::bfloat16> b(brain.data(), {1, 4, 1, 2});
  natten_mps::tensor_view<natten_mps::float16> h_out(half_out.data(),
                                                     {1, 4, 1, 2});
  natten_mps::tensor_view<natten_mps::bfloat16> b_out(brain_out.data(),
                                                      {1, 4, 1, 2});
  natten_mps::attention(h, h, h, h_out, 3);
  natten_mps::attention(b, b, b, b_out, 3);
  for (auto x : half_out) CHECK(x.bits == 0x3c00);
  for (auto x : brain_out) CHECK(x.bits == 0x4000);
}

// A range of the queries, with the keys that they need, gives the same rows as
// the whole.
void test_ranges() {
  std::vector<float> x(8), whole(8), part(2);
  for (std::size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(i * i);
  view all(x.data(), {1, 8, 1, 1}), all_out(whole.data(), {1, 8, 1, 1});
  natten_mps::attention(all, all, all, all_out, 3);
  natten_mps_axis axis{};
  axis.length = 8;
  axis.kernel = 3;
  natten_mps_range need = natten_mps::window_range(axis, {3, 2, 0, 0});
  CHECK(need.key_first == 2 && need.key_count == 4);
  view query(x.data() + 3, {1, 2, 1, 1}), out(part.data(), {1, 2, 1, 1});
  view keys(x.data() + need.key_first, {1, need.key_count, 1, 1});
  natten_mps::options o;
  o.length = 8;
  o.query_first = 3;
  o.key_first = need.key_first;
  natten_mps::attention(query, keys, keys, out, 3, o);
  CHECK(std::abs(part[0] - whole[3]) < 1e-5 &&
        std::abs(part[1] - whole[4]) < 1e-5);
  o.key_first = 3;
  CHECK(message_of([&] {
          natten_mps::attention(query, keys, keys, out, 3, o);
        }).find("query 3 on axis 0 sees key 2, which is not held") == 0);
  CHECK(message_of([&] {
          natten_mps::attention(view(x.data(), {1, 0, 1, 1}),
                                keys,
                                keys,
                                view(part.data(), {1, 0, 1, 1}),
                                3,
                                o);
        }) == "query or key holds no position of axis 0 (want one or more)");
  CHECK(message_of([&] { natten_mps::window_range(axis, {9, 0, 0, 0}); }) ==
        "query_first is 9 on axis 0 (want 0 to length - 1, 7)");
}

void test_errors() {
  std::vector<float> memory(64);
  view q(memory.data(), {1, 4, 2, 2}), shorter(memory.data(), {1, 3, 2, 2});
  view out(memory.data() + 32, {1, 4, 2, 2}), flat(memory.data(), {4, 2, 2});
  view wide(memory.data(), {1, 4, 2, 3}), lone(memory.data(), {1, 4, 1, 2});
  CHECK(message_of([&] { natten_mps::attention(q, q, q, out, 3); }).empty());
  CHECK(message_of([&] {
          natten_mps::attention(flat, q, q, out, 3);
        }).find("have 3, 4 and 4 dimensions") != std::string::npos);
  CHECK(message_of([&] { natten_mps::attention(q, shorter, q, out, 3); }) ==
        "query, key and value differ in dimension 1");
  CHECK(
      !message_of([&] { natten_mps::attention(q, wide, q, out, 3); }).empty());
  CHECK(
      !message_of([&] { natten_mps::attention(q, q, lone, out, 3); }).empty());
  CHECK(message_of([&] {
          natten_mps::attention(q, q, q, wide, 3);
        }).find("out is not of") == 0);
  CHECK(message_of([&] { natten_mps::attention(q, q, q, out, {3, 3}); }) ==
        "2 numbers are given for 1 axes");
  CHECK(message_of([&] {
          natten_mps::attention(q, q, q, out, 5);
        }).find("kernel 5 * dilation 1 exceeds length 4") == 0);
  CHECK(
      !message_of([&] { view(memory.data(), {1, 1, 1, 1, 1, 1, 1}); }).empty());
  CHECK(message_of([&] { view(memory.data(), {1, 4, 2, 2}, {16, 4, 2}); }) ==
        "tensor_view has 3 strides for 4 dimensions (want one for each)");
  CHECK(message_of([&] { natten_mps::attention(q, q, q, out, {}); }) ==
        "0 numbers are given for 1 axes");
  natten_mps::options far;
  far.causal = std::int64_t{1} << 32;
  CHECK(message_of([&] { natten_mps::attention(q, q, q, out, 3, far); }) ==
        "causal is 4294967296 (want 0 or 1)");
}

}  // namespace

int main() {
  test_plans();
  test_half_types();
  test_ranges();
  test_errors();
  return failures != 0;
}
