// Where the keys and values of a position lie, and which positions a query sees.
#pragma once

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/primitives.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// Keys and values as rows beside each other.
struct DenseKeys {
  Global<const float> k, v;
  std::int64_t stride, head_size;

  __device__ __forceinline__ DenseKeys(const Attend& op, std::int64_t first_row, std::int64_t kv_head)
      : k(op.k + first_row * op.kv_stride + kv_head * op.head_size),
        v(op.v + first_row * op.kv_stride + kv_head * op.head_size),
        stride(op.kv_stride),
        head_size(op.head_size) {}

  __device__ __forceinline__ std::int64_t place(std::int64_t position) const { return position * stride; }
  __device__ __forceinline__ float key(std::int64_t place, std::int64_t d) const { return k[place + d]; }
  __device__ __forceinline__ float value(std::int64_t place, std::int64_t d) const { return v[place + d]; }
};

/// Keys and values in pages, in T.
template <class T>
struct PageKeys {
  Global<const T> base;
  Global<const std::int32_t> pages;
  std::int64_t page_stride, page_tokens, head_size, values_at;

  __device__ __forceinline__ PageKeys(const Attend& op, std::int64_t /*first_row*/, std::int64_t kv_head)
      : base(Global<const T>(static_cast<const T*>(op.paged.base)) +
             kv_head * op.paged.page_tokens * op.head_size),
        pages(op.paged.pages),
        page_stride(op.paged.page_stride / static_cast<std::int64_t>(sizeof(T))),
        page_tokens(op.paged.page_tokens),
        head_size(op.head_size),
        values_at(op.n_kv_heads * op.paged.page_tokens * op.head_size) {}

  __device__ __forceinline__ std::int64_t place(std::int64_t position) const {
    return pages[position / page_tokens] * page_stride + position % page_tokens * head_size;
  }
  __device__ __forceinline__ float key(std::int64_t place, std::int64_t d) const {
    return widen(base[place + d]);
  }
  __device__ __forceinline__ float value(std::int64_t place, std::int64_t d) const {
    return widen(base[place + values_at + d]);
  }
};

/// Positions [start, limit) that a row's queries see.
struct Sight {
  std::int64_t start, limit;
};
__device__ __forceinline__ Sight sight_of(const Attend& op, std::int64_t row) {
  if (op.tile_rows > 0) return {0, op.tile_rows};
  const std::int64_t limit = op.first_position + row + 1;
  return {op.window > 0 && limit > op.window ? limit - op.window : 0, limit};
}

/// Runs of 32 elements that a head has, as the kernels are compiled for; a lane holds one element of each.
inline constexpr int most_runs = 8;
constexpr int runs_of(std::int64_t head_size) {
  const auto runs = static_cast<int>((head_size + warp_lanes - 1) / warp_lanes);
  return runs <= 4 ? runs : most_runs;
}

/// No score yet. Finite, so that differences of two are 0 and not NaN.
inline constexpr float no_score = -3.0e38F;

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
