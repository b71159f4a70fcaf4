// Rotary positions (arXiv:2104.09864) and the rows of keys and values that go into pages.
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
  std::int64_t first_position;
  float scale;
  Rows table;
};

__global__ void rope_table_kernel(const Table op) {
  const std::int64_t i = element_column();
  const std::int64_t half = op.table.cols / 2;
  if (i >= half) return;
  const Global<const float> frequencies(op.frequencies);
  const Global<float> table(op.table.data);
  for (std::int64_t row = blockIdx.y; row < op.table.rows; row += gridDim.y) {
    const float angle = static_cast<float>(op.first_position + row) * frequencies[i];
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

struct Append {
  Rows k, v;
  std::int64_t first_position, head_size;
  PagedKeys to;
};

template <class T>
__global__ void append_kv_kernel(const Append op) {
  const std::int64_t i = element_column();
  if (i >= op.k.cols) return;
  const Global<const float> k(op.k.data);
  const Global<const float> v(op.v.data);
  const Global<const std::int32_t> pages(op.to.pages);
  const Global<T> base(static_cast<T*>(op.to.base));
  const std::int64_t half = op.k.cols * op.to.page_tokens;
  for (std::int64_t row = blockIdx.y; row < op.k.rows; row += gridDim.y) {
    const std::int64_t position = op.first_position + row;
    const std::int64_t page = pages[position / op.to.page_tokens];
    const std::int64_t within = position % op.to.page_tokens;
    const std::int64_t at = page * (op.to.page_stride / static_cast<std::int64_t>(sizeof(T))) +
                            (i / op.head_size * op.to.page_tokens + within) * op.head_size + i % op.head_size;
    base[at] = narrow_to<T>(k[row * op.k.stride + i]);
    base[at + half] = narrow_to<T>(v[row * op.v.stride + i]);
  }
}

}  // namespace

cudaError_t rope_frequencies(cudaStream_t stream, float base, std::int64_t dimensions, float* frequencies,
                             std::int64_t count) {
  return launch<rope_frequencies_kernel>(stream, "rope_frequencies", element_grid(1, count), element_threads,
                                         0, Frequencies{base, dimensions, frequencies, count});
}

cudaError_t rope_table(cudaStream_t stream, const float* frequencies, std::int64_t first_position,
                       float scale, const Rows& table) {
  if (table.rows == 0) return cudaSuccess;
  return launch<rope_table_kernel>(stream, "rope_table", element_grid(table.rows, table.cols / 2),
                                   element_threads, 0, Table{frequencies, first_position, scale, table});
}

cudaError_t rope(cudaStream_t stream, const Rows& x, std::int64_t head_size, const Rows& table) {
  if (x.rows == 0) return cudaSuccess;
  const std::int64_t pairs = x.cols / head_size * (table.cols / 2);
  return launch<rope_kernel>(stream, "rope", element_grid(x.rows, pairs), element_threads, 0,
                             Rotation{x, table, head_size});
}

cudaError_t append_kv(cudaStream_t stream, const Rows& k, const Rows& v, std::int64_t first_position,
                      std::int64_t head_size, const PagedKeys& to) {
  if (k.rows == 0) return cudaSuccess;
  const Append op{k, v, first_position, head_size, to};
  const Grid grid = element_grid(k.rows, k.cols);
  return to.element == Element::f32
             ? launch<append_kv_kernel<float>>(stream, "append_kv", grid, element_threads, 0, op)
             : launch<append_kv_kernel<Half>>(stream, "append_kv", grid, element_threads, 0, op);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
