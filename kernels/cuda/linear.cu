// Products with few rows of x, weights widened or dequantised on their way: what decoding waits for is the
// reading of the weights. And grouped rows to FP16, for products that are large enough for tensor cores.
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/grouped.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/linear_end.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

constexpr unsigned gemv_threads = 128;
constexpr unsigned gemv_warps = gemv_threads / warp_lanes;
/// Rows of weights that a warp reads side by side: loads in flight, and uses of each x.
constexpr int weight_rows = 4;
/// Elements that a lane takes of a row at once, as two runs of four.
constexpr int unit_elements = 8;

struct Gemv {
  Linear op;
  GroupedParams grouped;
  std::int64_t row_bytes;
  bool vector_x;  // rows of x begin at multiples of 16 bytes
};

/// Where a unit's two runs of four begin.
struct UnitPlace {
  std::int64_t first, second;
};

template <class T, bool aligned>
struct PlainRow {
  static __device__ __forceinline__ UnitPlace place(std::int64_t unit) {
    return {unit * unit_elements, unit * unit_elements + 4};
  }
  static __device__ __forceinline__ void load(const Gemv& params, const Global<const std::uint8_t>& bytes,
                                              std::int64_t unit, float (&w)[unit_elements]) {
    const Global<const T> row = memory_as<const T>(bytes);
    const std::int64_t first = unit * unit_elements;
    if constexpr (aligned && sizeof(T) == 4) {
      const Float4 low = load_vector<Float4>(row, first);
      const Float4 high = load_vector<Float4>(row, first + 4);
      for (int i = 0; i < 4; ++i) {
        w[i] = low.values[i];
        w[4 + i] = high.values[i];
      }
    } else if constexpr (aligned) {
      struct alignas(16) Eight {
        T values[unit_elements];
      };
      const Eight eight = load_vector<Eight>(row, first);
#pragma unroll
      for (int i = 0; i < unit_elements; ++i) w[i] = widen(eight.values[i]);
    } else {
#pragma unroll
      for (int i = 0; i < unit_elements; ++i) w[i] = first + i < params.op.k ? widen(row[first + i]) : 0.0F;
    }
  }
};

template <int bits>
struct GroupedRow {
  // Four bytes of a chunk of 4-bit quants hold four neighbours and the four 16 further on.
  static __device__ __forceinline__ UnitPlace place(std::int64_t unit) {
    if (bits == 8) return {unit * unit_elements, unit * unit_elements + 4};
    const std::int64_t first = unit / 4 * 32 + unit % 4 * 4;
    return {first, first + 16};
  }
  static __device__ __forceinline__ void load(const Gemv& params, const Global<const std::uint8_t>& bytes,
                                              std::int64_t unit, float (&w)[unit_elements]) {
    const UnitPlace at = place(unit);
    const GroupValues low = group_values(params.grouped, bytes, at.first);
    const GroupValues high =
        bits == 8 || params.grouped.rows.group > 16 ? low : group_values(params.grouped, bytes, at.second);
    if constexpr (bits == 8) {
      struct alignas(8) Eight {
        std::int8_t quants[unit_elements];
      };
      const Eight eight = load_vector<Eight>(bytes, unit * unit_elements);
#pragma unroll
      for (int i = 0; i < unit_elements; ++i) w[i] = quant_value(params.grouped, low, eight.quants[i]);
    } else {
      const auto word = load_vector<std::uint32_t>(bytes, unit * 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        w[i] = quant_value(params.grouped, low, static_cast<int>(word >> 8 * i & 15U));
        w[4 + i] = quant_value(params.grouped, high, static_cast<int>(word >> (8 * i + 4) & 15U));
      }
    }
  }
};

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

template <class Format, int most_rows>
__global__ void __launch_bounds__(gemv_threads) gemv_kernel(const Gemv params) {
  const Linear& op = params.op;
  const int n_columns = op.up != nullptr ? weight_rows / 2 : weight_rows;
  const std::int64_t first_column =
      (static_cast<std::int64_t>(blockIdx.x) * gemv_warps + warp_index()) * n_columns;
  const Global<const float> x(op.x);
  const Global<const std::uint8_t> weights[weight_rows] = {
      weight_row(params, first_column, 0), weight_row(params, first_column, 1),
      weight_row(params, first_column, 2), weight_row(params, first_column, 3)};
  float sums[weight_rows][most_rows] = {};

  const std::int64_t filled = (op.k + 31) / 32 * 32;  // grouped rows are filled up; others have nothing there
  const std::int64_t n_units =
      params.grouped.n_groups > 0 ? filled / unit_elements : (op.k + unit_elements - 1) / unit_elements;
  for (std::int64_t unit = lane_index(); unit < n_units; unit += warp_lanes) {
    float w[weight_rows][unit_elements];
#pragma unroll
    for (int i = 0; i < weight_rows; ++i) Format::load(params, weights[i], unit, w[i]);
    const UnitPlace at = Format::place(unit);
#pragma unroll
    for (int row = 0; row < most_rows; ++row) {
      if (row >= op.m) continue;
      const Float4 low = load_x(params, x + row * op.x_stride, at.first);
      const Float4 high = load_x(params, x + row * op.x_stride, at.second);
#pragma unroll
      for (int i = 0; i < weight_rows; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sums[i][row] += low.values[j] * w[i][j] + high.values[j] * w[i][4 + j];
        }
      }
    }
  }

#pragma unroll
  for (int i = 0; i < weight_rows; ++i) {
#pragma unroll
    for (int row = 0; row < most_rows; ++row) {
      if (row < op.m) sums[i][row] = warp_sum(sums[i][row]);
    }
  }
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
  const std::int64_t n_columns = gemv_warps * (params.op.up != nullptr ? weight_rows / 2 : weight_rows);
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
  Gemv params{op, {}, 0, op.x_stride % 4 == 0 && reinterpret_cast<std::uintptr_t>(op.x) % 16 == 0};
  if (op.grouped != nullptr) {
    params.grouped = grouped_params(*op.grouped, op.k);
    params.row_bytes = op.grouped->row_bytes;
    return op.grouped->bits == 8 ? launch_gemv<GroupedRow<8>>(stream, params)
                                 : launch_gemv<GroupedRow<4>>(stream, params);
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
