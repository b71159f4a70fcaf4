// Products with few rows of x, weights widened or dequantised on their way: what decoding waits for is the
// reading of the weights. And grouped rows to FP16, for products that are large enough for tensor cores.
#include "kernels/cuda/gemv_rows.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/linear_end.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

constexpr unsigned gemv_threads = 128;
constexpr unsigned gemv_warps = gemv_threads / warp_lanes;

__device__ __forceinline__ Float4 load_x(const Gemv& params, const Global<const float>& row,
                                         std::int64_t at) {
  if (params.vector_x && at + 4 <= params.op.k) return load_vector<Float4>(row, at);
  Float4 four;
#pragma unroll
  for (int i = 0; i < 4; ++i) four.values[i] = at + i < params.op.k ? row[at + i] : 0.0F;
  return four;
}

/// Which row of the weights is number `i` of the warp's: columns side by side, or half as many, gate and up.
__device__ __forceinline__ const std::uint8_t* weight_row(const Gemv& params, std::int64_t first_column,
                                                          int i) {
  const Linear& op = params.op;
  const bool gated = op.up != nullptr;
  const int n_columns = gated ? weight_rows / 2 : weight_rows;
  const std::int64_t column = first_column + i % n_columns;
  const void* base = i < n_columns ? op.w : op.up;
  return static_cast<const std::uint8_t*>(base) + (column < op.n ? column : op.n - 1) * params.row_bytes;
}

template <int most_rows>
__device__ __forceinline__ void store_column(const Linear& op, std::int64_t column,
                                             const float (&sums)[most_rows],
                                             const float (&up_sums)[most_rows]) {
#pragma unroll
  for (int row = 0; row < most_rows; ++row) {
    if (row < op.m) store_result(op, row, column, sums[row], up_sums[row]);
  }
}

/// sums += the unit's weights times x's elements there.
template <class Format, int most_rows>
__device__ __forceinline__ void add_unit(const Gemv& params, const Global<const float>& x, std::int64_t unit,
                                         const typename Format::Raw (&raw)[weight_rows],
                                         float (&sums)[weight_rows][most_rows]) {
  float w[weight_rows][unit_elements];
#pragma unroll
  for (int i = 0; i < weight_rows; ++i) Format::widen_to(params, raw[i], w[i]);
  const UnitPlace at = Format::place(unit);
#pragma unroll
  for (int row = 0; row < most_rows; ++row) {
    if (row >= params.op.m) continue;
    const Float4 low = load_x(params, x + row * params.op.x_stride, at.first);
    const Float4 high = load_x(params, x + row * params.op.x_stride, at.second);
    float total = 0;
    if constexpr (Format::has_scales) {
#pragma unroll
      for (int j = 0; j < 4; ++j) total += low.values[j] + high.values[j];
    }
#pragma unroll
    for (int i = 0; i < weight_rows; ++i) {
      float sum = Format::has_scales ? 0.0F : sums[i][row];
#pragma unroll
      for (int j = 0; j < 4; ++j) sum += low.values[j] * w[i][j] + high.values[j] * w[i][4 + j];
      if constexpr (Format::has_scales) {
        const GroupValues group = Format::scales(params, raw[i]);
        sum = sums[i][row] + group.scale * sum + group.minimum * total;
      }
      sums[i][row] = sum;
    }
  }
}

/// Warps that took parts of the same sums put them together; true for the one that goes on with them.
template <int most_rows>
__device__ __forceinline__ bool join_warps(float (&sums)[weight_rows][most_rows]) {
  GALAGO_SHARED_ARRAY(float, parts, gemv_warps* weight_rows* most_rows);
  constexpr int of_warp = weight_rows * most_rows;
#pragma unroll
  for (int i = 0; i < weight_rows; ++i) {
#pragma unroll
    for (int row = 0; row < most_rows; ++row) {
      if (lane_index() == 0) parts[warp_index() * of_warp + i * most_rows + row] = sums[i][row];
    }
  }
  block_barrier();
  if (warp_index() > 0) return false;
#pragma unroll
  for (int i = 0; i < weight_rows; ++i) {
#pragma unroll
    for (int row = 0; row < most_rows; ++row) {
      for (unsigned warp = 1; warp < gemv_warps; ++warp) {
        sums[i][row] += parts[warp * of_warp + i * most_rows + row];
      }
    }
  }
  return true;
}

template <class Format, int most_rows>
__global__ void __launch_bounds__(gemv_threads, most_rows == 1 ? 4 : 1) gemv_kernel(const Gemv params) {
  const Linear& op = params.op;
  const int n_columns = op.up != nullptr ? weight_rows / 2 : weight_rows;
  const std::int64_t rows_at_once = params.share_rows ? 1 : gemv_warps;
  const std::int64_t first_column =
      (blockIdx.x * rows_at_once + (params.share_rows ? 0 : warp_index())) * n_columns;
  const Global<const float> x(op.x);
  const Global<const std::uint8_t> weights[weight_rows] = {
      weight_row(params, first_column, 0), weight_row(params, first_column, 1),
      weight_row(params, first_column, 2), weight_row(params, first_column, 3)};
  float sums[weight_rows][most_rows] = {};

  const std::int64_t filled = (op.k + 31) / 32 * 32;  // grouped rows are filled up; others have nothing there
  const std::int64_t n_units =
      params.grouped.n_groups > 0 ? filled / unit_elements : (op.k + unit_elements - 1) / unit_elements;
  // With more rows of x there is work enough for every load.
  constexpr int batch = most_rows == 1 ? Format::batch : 1;
  const std::int64_t begin = params.share_rows ? threadIdx.x : lane_index();
  const std::int64_t step = params.share_rows ? gemv_threads : warp_lanes;
  for (std::int64_t first = begin; first < n_units; first += batch * step) {
    typename Format::Raw raw[batch][weight_rows];
#pragma unroll
    for (int u = 0; u < batch; ++u) {
      if (first + u * step >= n_units) continue;
#pragma unroll
      for (int i = 0; i < weight_rows; ++i) raw[u][i] = Format::load(params, weights[i], first + u * step);
    }
#pragma unroll
    for (int u = 0; u < batch; ++u) {
      if (first + u * step >= n_units) continue;
      add_unit<Format, most_rows>(params, x, first + u * step, raw[u], sums);
    }
  }

#pragma unroll
  for (int i = 0; i < weight_rows; ++i) {
#pragma unroll
    for (int row = 0; row < most_rows; ++row) {
      if (row < op.m) sums[i][row] = warp_sum(sums[i][row]);
    }
  }
  if (params.share_rows && !join_warps<most_rows>(sums)) return;
    // A lane a column, so that they finish side by side. Which sums are a lane's is settled when this is
    // compiled: registers have no index.
#pragma unroll
  for (int i = 0; i < weight_rows; ++i) {
    const std::int64_t column = first_column + i;
    if (i >= n_columns || static_cast<int>(lane_index()) != i || column >= op.n) continue;
    store_column<most_rows>(op, column, sums[i], sums[(i + weight_rows / 2) % weight_rows]);
  }
}

template <class Format>
cudaError_t launch_gemv(cudaStream_t stream, const Gemv& params) {
  const std::int64_t n_columns =
      (params.share_rows ? 1 : gemv_warps) * (params.op.up != nullptr ? weight_rows / 2 : weight_rows);
  const Grid grid{static_cast<unsigned>((params.op.n + n_columns - 1) / n_columns), 1, 1};
  if (params.op.m == 1) return launch<gemv_kernel<Format, 1>>(stream, "gemv", grid, gemv_threads, 0, params);
  if (params.op.m <= 4) return launch<gemv_kernel<Format, 4>>(stream, "gemv", grid, gemv_threads, 0, params);
  return launch<gemv_kernel<Format, max_gemv_rows>>(stream, "gemv", grid, gemv_threads, 0, params);
}

template <class T>
cudaError_t launch_plain(cudaStream_t stream, Gemv& params) {
  params.row_bytes = params.op.k * static_cast<std::int64_t>(sizeof(T));
  const bool aligned =
      params.op.k % unit_elements == 0 && reinterpret_cast<std::uintptr_t>(params.op.w) % 16 == 0;
  return aligned ? launch_gemv<PlainRow<T, true>>(stream, params)
                 : launch_gemv<PlainRow<T, false>>(stream, params);
}

struct Dequantise {
  GroupedParams grouped;
  const void* from;
  std::int64_t n_rows, cols;
  void* to;
};

__global__ void dequantise_kernel(const Dequantise op) {
  const std::int64_t i = element_column();
  if (i >= op.cols) return;
  const Global<const std::uint8_t> from(static_cast<const std::uint8_t*>(op.from));
  const Global<Half> to(static_cast<Half*>(op.to));
  for (std::int64_t row = blockIdx.y; row < op.n_rows; row += gridDim.y) {
    to[row * op.cols + i] =
        narrow_to<Half>(grouped_element(op.grouped, from + row * op.grouped.rows.row_bytes, i));
  }
}

}  // namespace

cudaError_t gemv(cudaStream_t stream, const Linear& op) {
  if (op.m == 0) return cudaSuccess;
  // Few long rows: all warps of a block take the same ones, so that there are blocks for all processors.
  constexpr std::int64_t few_weight_rows = 16384;
  constexpr std::int64_t long_row = 2048;
  const bool share_rows = op.k >= long_row && op.n <= few_weight_rows / (op.up != nullptr ? 2 : 1);
  Gemv params{op, {},         0,
              0,  share_rows, op.x_stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(op.x) % 16 == 0};
  if (op.grouped != nullptr) {
    params.grouped = grouped_params(*op.grouped, op.k);
    params.row_bytes = op.grouped->row_bytes;
    const bool is_usual =
        op.grouped->codebook == nullptr && op.grouped->group >= 32 && op.grouped->scale == Element::f16;
    while (is_usual && 32 << params.chunks_of_group_shift < op.grouped->group) ++params.chunks_of_group_shift;
    if (op.grouped->bits == 8) {
      return is_usual ? launch_gemv<QuantRow<8>>(stream, params) : launch_gemv<GroupedRow<8>>(stream, params);
    }
    return is_usual ? launch_gemv<QuantRow<4>>(stream, params) : launch_gemv<GroupedRow<4>>(stream, params);
  }
  switch (op.element) {
    case Element::f16:
      return launch_plain<Half>(stream, params);
    case Element::bf16:
      return launch_plain<Bfloat16>(stream, params);
    case Element::f32:
      break;
  }
  return launch_plain<float>(stream, params);
}

cudaError_t dequantise(cudaStream_t stream, const GroupedRows& format, const void* from, std::int64_t n_rows,
                       std::int64_t cols, void* to) {
  return launch<dequantise_kernel>(stream, "dequantise", element_grid(n_rows, cols), element_threads, 0,
                                   Dequantise{grouped_params(format, cols), from, n_rows, cols, to});
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
