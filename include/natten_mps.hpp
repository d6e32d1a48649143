// SPDX-License-Identifier: MIT
//
// natten_mps.hpp - natten_mps.h for C++17: plans that destroy themselves,
// exceptions instead of statuses, tensors that know their shape. It adds no
// rules; natten_mps.h says what everything means. Link libnatten_mps.
#ifndef NATTEN_MPS_HPP
#define NATTEN_MPS_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "natten_mps.h"

namespace natten_mps {

/// A status other than NATTEN_MPS_OK, with the library's own message.
class error : public std::runtime_error {
 public:
  error(std::int32_t status, const std::string& message)
      : std::runtime_error(message),
        status_(static_cast<natten_mps_status>(status)) {}

  natten_mps_status status() const noexcept { return status_; }

 private:
  natten_mps_status status_;
};

/// Calls `function(natten_mps_error*)` and throws unless it returns
/// NATTEN_MPS_OK.
template <class Function>
void call(Function&& function) {
  natten_mps_error details;
  details.size = sizeof details;
  if (std::int32_t status = function(&details))
    throw error(status, details.message);
}

/// Bits of a half precision number, which C++17 has no type for.
struct float16 {
  std::uint16_t bits;
};

/// Bits of a bfloat16 number.
struct bfloat16 {
  std::uint16_t bits;
};

template <class T>
struct dtype_of;
template <>
struct dtype_of<float> {
  static constexpr natten_mps_dtype value = NATTEN_MPS_FLOAT32;
};
template <>
struct dtype_of<double> {
  static constexpr natten_mps_dtype value = NATTEN_MPS_FLOAT64;
};
template <>
struct dtype_of<float16> {
  static constexpr natten_mps_dtype value = NATTEN_MPS_FLOAT16;
};
template <>
struct dtype_of<bfloat16> {
  static constexpr natten_mps_dtype value = NATTEN_MPS_BFLOAT16;
};

/// Sizes or strides of up to six dimensions.
using dims = std::array<std::int64_t, 6>;

/// The caller's memory with a shape and strides, as std::span is memory with a
/// size. It owns nothing.
template <class T>
class tensor_view {
 public:
  /// No tensor.
  tensor_view() = default;

  /// A dense tensor, the last dimension fastest.
  tensor_view(T* data, std::initializer_list<std::int64_t> shape)
      : tensor_view(data, shape, shape) {
    std::uint64_t stride = 1;  // the library refuses sizes that overflow
    for (std::size_t i = rank_; i-- > 0;) {
      strides_[i] = static_cast<std::int64_t>(stride);
      stride *= static_cast<std::uint64_t>(shape_[i]);
    }
  }

  /// A tensor with strides, counted in elements: one for each dimension.
  tensor_view(T* data,
              std::initializer_list<std::int64_t> shape,
              std::initializer_list<std::int64_t> strides)
      : data_(data), rank_(shape.size()) {
    if (shape.size() > shape_.size() || strides.size() > strides_.size())
      throw error(NATTEN_MPS_INVALID_ARGUMENT,
                  "tensor_view has more than 6 dimensions");
    if (shape.size() != strides.size())
      throw error(NATTEN_MPS_INVALID_ARGUMENT,
                  "tensor_view has " + std::to_string(strides.size()) +
                      " strides for " + std::to_string(shape.size()) +
                      " dimensions (want one for each)");
    std::size_t i = 0;
    for (std::int64_t n : shape) shape_[i++] = n;
    i = 0;
    for (std::int64_t n : strides) strides_[i++] = n;
  }

  /// A view of mutable elements converts to a view of const ones.
  template <class U,
            class = std::enable_if_t<std::is_same_v<const U, T> &&
                                     !std::is_const_v<U>>>
  tensor_view(const tensor_view<U>& other)
      : data_(other.data()),
        rank_(other.rank()),
        shape_(other.shape()),
        strides_(other.strides()) {}

  T* data() const noexcept { return data_; }
  std::size_t rank() const noexcept { return rank_; }
  const dims& shape() const noexcept { return shape_; }
  const dims& strides() const noexcept { return strides_; }

  /// For a field of natten_mps_args. The library writes outputs only.
  operator natten_mps_tensor() const noexcept {
    natten_mps_tensor tensor{};
    tensor.data = const_cast<void*>(static_cast<const void*>(data_));
    for (std::size_t i = 0; i < rank_; i++) tensor.strides[i] = strides_[i];
    return tensor;
  }

 private:
  T* data_ = nullptr;
  std::size_t rank_ = 0;
  dims shape_{};
  dims strides_{};
};

/// natten_mps_problem, zeroed and with its size.
struct problem : natten_mps_problem {
  problem() : natten_mps_problem{} { size = sizeof(natten_mps_problem); }
};

/// natten_mps_args, zeroed and with its size.
struct args : natten_mps_args {
  args() : natten_mps_args{} { size = sizeof(natten_mps_args); }
};

/// A plan, destroyed with this object. run() may be called
/// from several threads at once.
class plan {
 public:
  explicit plan(const natten_mps_problem& problem,
                const char* backend = nullptr) {
    call([&](natten_mps_error* e) {
      return natten_mps_plan_create(&problem, backend, &handle_, e);
    });
  }
  plan(plan&& other) noexcept : handle_(std::exchange(other.handle_, 0)) {}
  plan& operator=(plan&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  plan(const plan&) = delete;
  plan& operator=(const plan&) = delete;
  ~plan() {
    if (handle_ != 0) natten_mps_plan_destroy(handle_, nullptr);
  }

  void run(const natten_mps_args& args) const {
    call(
        [&](natten_mps_error* e) { return natten_mps_run(handle_, &args, e); });
  }

  natten_mps_plan_info info() const {
    natten_mps_plan_info info{};
    info.size = sizeof info;
    call([&](natten_mps_error* e) {
      return natten_mps_plan_info_get(handle_, &info, e);
    });
    return info;
  }

 private:
  natten_mps_plan handle_ = 0;
};

namespace detail {
// Keeps a parameter from taking part in the deduction of T.
template <class T>
using same = typename std::common_type<T>::type;
}  // namespace detail

/// One number for all axes, or one per axis.
class per_axis {
 public:
  per_axis(std::int64_t all) : values_{all, all, all}, same_(true) {}
  per_axis(std::initializer_list<std::int64_t> values) : count_(values.size()) {
    std::size_t i = 0;
    for (std::int64_t n : values)
      if (i < values_.size()) values_[i++] = n;
  }

  std::int64_t at(std::size_t axis, std::size_t rank) const {
    if (!same_ && count_ != rank)
      throw error(NATTEN_MPS_INVALID_ARGUMENT,
                  std::to_string(count_) + " numbers are given for " +
                      std::to_string(rank) + " axes");
    return values_[axis];
  }

 private:
  std::array<std::int64_t, 3> values_{};
  std::size_t count_ = 0;
  bool same_ = false;
};

/// Optional parameters of attention().
struct options {
  per_axis dilation = 1;
  per_axis stride = 1;
  per_axis causal = 0;
  std::optional<double> scale;  // 1/sqrt(head_dim)
  /// Length of the whole axes, of which the tensors hold ranges: those of
  /// queries and outputs from query_first on, keys and values from key_first
  /// on. 0: the tensors hold the whole axes. See natten_mps_range.
  per_axis length = 0;
  per_axis query_first = 0;
  per_axis key_first = 0;
  const char* backend = nullptr;
};

/// The keys that the queries of a range need: `range` with its key range.
inline natten_mps_range window_range(const natten_mps_axis& axis,
                                     natten_mps_range range) {
  call([&](natten_mps_error* e) {
    return natten_mps_window_range(&axis, &range, e);
  });
  return range;
}

/// The problem of attention() below.
template <class T>
problem attention_problem(tensor_view<const T> query,
                          tensor_view<const T> key,
                          tensor_view<const T> value,
                          const per_axis& kernel,
                          const options& options) {
  std::size_t rank = query.rank();
  if (rank < 4 || rank > 6 || key.rank() != rank || value.rank() != rank)
    throw error(NATTEN_MPS_INVALID_ARGUMENT,
                "query, key and value have " + std::to_string(rank) + ", " +
                    std::to_string(key.rank()) + " and " +
                    std::to_string(value.rank()) +
                    " dimensions (want [batch, 1 to 3 axes, heads, channels])");
  for (std::size_t i = 0; i + 2 < rank; i++)
    if (value.shape()[i] != key.shape()[i] ||
        (key.shape()[i] != query.shape()[i] &&
         (i == 0 || options.length.at(i - 1, rank - 3) == 0)))
      throw error(
          NATTEN_MPS_INVALID_ARGUMENT,
          "query, key and value differ in dimension " + std::to_string(i));
  if (key.shape()[rank - 1] != query.shape()[rank - 1] ||
      key.shape()[rank - 2] != value.shape()[rank - 2])
    throw error(NATTEN_MPS_INVALID_ARGUMENT,
                "query and key differ in channels, or key and value in heads");
  problem p;
  p.op = NATTEN_MPS_ATTN_FORWARD;
  p.dtype = dtype_of<T>::value;
  p.rank = static_cast<std::int32_t>(rank - 3);
  p.batch = query.shape()[0];
  p.heads = query.shape()[rank - 2];
  p.kv_heads = key.shape()[rank - 2];
  p.head_dim = query.shape()[rank - 1];
  p.value_dim = value.shape()[rank - 1];
  if (options.scale) {
    p.flags |= NATTEN_MPS_SCALE;
    p.scale = *options.scale;
  }
  for (std::size_t i = 0; i + 3 < rank; i++) {
    natten_mps_axis& axis = p.axes[i];
    axis.length = options.length.at(i, rank - 3);
    if (axis.length == 0) {
      axis.length = query.shape()[1 + i];
    } else if (query.shape()[1 + i] < 1 || key.shape()[1 + i] < 1) {
      throw error(NATTEN_MPS_INVALID_ARGUMENT,
                  "query or key holds no position of axis " +
                      std::to_string(i) + " (want one or more)");
    } else {
      p.ranges[i] = {options.query_first.at(i, rank - 3),
                     query.shape()[1 + i],
                     options.key_first.at(i, rank - 3),
                     key.shape()[1 + i]};
    }
    axis.kernel = kernel.at(i, rank - 3);
    axis.dilation = options.dilation.at(i, rank - 3);
    axis.stride = options.stride.at(i, rank - 3);
    std::int64_t causal = options.causal.at(i, rank - 3);
    if (causal != 0 && causal != 1)
      throw error(NATTEN_MPS_INVALID_ARGUMENT,
                  "causal is " + std::to_string(causal) + " (want 0 or 1)");
    axis.causal = static_cast<std::int32_t>(causal);
  }
  return p;
}

/// Fused attention, forward: out = softmax(scale * query . key) . value over
/// each query's window. Tensors are [batch, 1 to 3 axes, heads, channels] with
/// any strides; heads of key and value may be fewer, by a whole factor.
template <class T>
void attention(detail::same<tensor_view<const T>> query,
               detail::same<tensor_view<const T>> key,
               detail::same<tensor_view<const T>> value,
               tensor_view<T> out,
               const per_axis& kernel,
               const options& options = {}) {
  problem p = attention_problem<T>(query, key, value, kernel, options);
  std::size_t rank = query.rank();
  dims want = query.shape();
  want[rank - 1] = value.shape()[rank - 1];
  if (out.rank() != rank || out.shape() != want)
    throw error(NATTEN_MPS_INVALID_ARGUMENT,
                "out is not of query's shape with value's channels");
  args a;
  a.query = query;
  a.key = key;
  a.value = value;
  a.out = out;
  plan(p, options.backend).run(a);
}

}  // namespace natten_mps

#endif  // NATTEN_MPS_HPP
