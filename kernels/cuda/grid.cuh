// One thread an element: how kernels that only move or combine elements are laid out.
#pragma once

#include "kernels/cuda/primitives.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

inline constexpr unsigned element_threads = 256;

/// Blocks along x for the columns, along y for the rows; rows beyond the grid's height are looped over.
inline Grid element_grid(std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t highest = 65535;
  const std::int64_t blocks = (cols + element_threads - 1) / element_threads;
  return Grid{static_cast<unsigned>(blocks), static_cast<unsigned>(rows < highest ? rows : highest), 1};
}

__device__ __forceinline__ std::int64_t element_column() {
  return static_cast<std::int64_t>(blockIdx.x) * element_threads + threadIdx.x;
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
