// Rotary positions (arXiv:2104.09864).
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/kernels.h"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

struct Frequencies {
  float base;
  std::int64_t dimensions;
  float* to;
  std::int64_t count;
};

__global__ void rope_frequencies_kernel(const Frequencies op) {
  const std::int64_t i = element_column();
  if (i >= op.count) return;
  const Global<float> to(op.to);
  // Rounded where the reference rounds.
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(op.dimensions);
  to[i] = 1.0F / static_cast<float>(pow(static_cast<double>(op.base), static_cast<double>(exponent)));
}

struct Table {
  const float* frequencies;
  const std::int32_t* positions;
  float scale;
  Rows table;
};

__global__ void rope_table_kernel(const Table op) {
  const std::int64_t i = element_column();
  const std::int64_t half = op.table.cols / 2;
  if (i >= half) return;
  const Global<const float> frequencies(op.frequencies);
  const Global<const std::int32_t> positions(op.positions);
  const Global<float> table(op.table.data);
  for (std::int64_t row = blockIdx.y; row < op.table.rows; row += gridDim.y) {
    const float angle = static_cast<float>(positions[row]) * frequencies[i];
    table[row * op.table.stride + i] = cosf(angle) * op.scale;
    table[row * op.table.stride + half + i] = sinf(angle) * op.scale;
  }
}

struct Rotation {
  Rows x, table;
  std::int64_t head_size;
};

/// One thread a pair of elements.
__global__ void rope_kernel(const Rotation op) {
  const std::int64_t half = op.table.cols / 2;
  const std::int64_t pair = element_column();
  if (pair >= op.x.cols / op.head_size * half) return;
  const Global<const float> table(op.table.data);
  const Global<float> x(op.x.data);
  const std::int64_t i = pair % half;
  const std::int64_t column = pair / half * op.head_size + i;
  for (std::int64_t row = blockIdx.y; row < op.x.rows; row += gridDim.y) {
    const float cosine = table[row * op.table.stride + i];
    const float sine = table[row * op.table.stride + half + i];
    const std::int64_t at = row * op.x.stride + column;
    const float first = x[at];
    const float second = x[at + half];
    x[at] = first * cosine - second * sine;
    x[at + half] = second * cosine + first * sine;
  }
}

}  // namespace

cudaError_t rope_frequencies(cudaStream_t stream, float base, std::int64_t dimensions, float* frequencies,
                             std::int64_t count) {
  return launch<rope_frequencies_kernel>(stream, "rope_frequencies", element_grid(1, count), element_threads,
                                         0, Frequencies{base, dimensions, frequencies, count});
}

cudaError_t rope_table(cudaStream_t stream, const float* frequencies, const std::int32_t* positions,
                       float scale, const Rows& table) {
  if (table.rows == 0) return cudaSuccess;
  return launch<rope_table_kernel>(stream, "rope_table", element_grid(table.rows, table.cols / 2),
                                   element_threads, 0, Table{frequencies, positions, scale, table});
}

cudaError_t rope(cudaStream_t stream, const Rows& x, std::int64_t head_size, const Rows& table) {
  if (x.rows == 0) return cudaSuccess;
  const std::int64_t pairs = x.cols / head_size * (table.cols / 2);
  return launch<rope_kernel>(stream, "rope", element_grid(x.rows, pairs), element_threads, 0,
                             Rotation{x, table, head_size});
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
