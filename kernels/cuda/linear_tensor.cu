// Products of some rows on tensor cores, weights dequantised between shared memory and registers, so that
// they are read once, packed. A block takes 64 rows of weights and up to 64 rows of x, three or four steps of
// 64 columns in flight.
#include "kernels/cuda/weight_tiles.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

constexpr int tensor_threads = 128;
constexpr int tensor_warps = tensor_threads / warp_lanes;
/// Products side by side in a warp: 16 rows of weights. Gated, one is of gates, the other of their ups.
constexpr int warp_tiles = 2;
constexpr int block_weight_rows = tensor_warps * warp_tiles * 8;
/// Halves of a row of x in shared memory: four rows of a step read by half a warp lie in different banks.
constexpr int x_stride = step_columns + 16;

struct Medium {
  Linear op;
  TensorProduct product;
  WeightRows weights;
  std::int64_t x_row_halves;
  int steps_of_split;
};

/// Row `i` of the block's weights as a row of the result's sums, gates before ups.
__device__ __forceinline__ std::int64_t sum_row(const Linear& op, int i) {
  const std::int64_t block = blockIdx.x;
  if (op.up == nullptr) return block * block_weight_rows + i;
  const std::int64_t column = block * (block_weight_rows / 2) + i / 16 * 8 + i % 8;
  // Missing columns are beyond the end for both.
  return i % 16 < 8 ? column : (column < op.n ? op.n + column : 2 * op.n);
}

/// The weights of a row of sums; of the last one, where it is missing or a gate's place that has none.
__device__ __forceinline__ const std::uint8_t* weights_of(const Medium& params, std::int64_t row) {
  const Linear& op = params.op;
  const bool is_up = op.up != nullptr && row >= op.n;
  const std::int64_t asked = is_up ? row - op.n : row;
  return static_cast<const std::uint8_t*>(is_up ? op.up : op.w) +
         (asked < op.n ? asked : op.n - 1) * params.weights.row_bytes;
}

template <class Format, int row_tiles>
__device__ __forceinline__ void load_stage(const Medium& params, int step, const Shared<Half>& x,
                                           const Shared<std::uint8_t>& w) {
  const Global<const Half> from(static_cast<const Half*>(params.product.x));
  const int first_column = step * step_columns;
  constexpr int x_pieces = step_columns / 8;
#pragma unroll
  for (int turn = 0; turn < row_tiles * 16 * x_pieces / tensor_threads; ++turn) {
    const int i = turn * tensor_threads + static_cast<int>(threadIdx.x);
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * row_tiles * 16 + i / x_pieces;
    const int column = first_column + i % x_pieces * 8;
    const bool present = row < params.op.m && column < params.x_row_halves;
    copy_async(x + (i / x_pieces * x_stride + i % x_pieces * 8),
               from + (present ? row * params.x_row_halves + column : 0), present ? 16 : 0);
  }
  constexpr int w_pieces = Format::step_bytes / 16;
#pragma unroll
  for (int turn = 0; turn < block_weight_rows * w_pieces / tensor_threads; ++turn) {
    const int i = turn * tensor_threads + static_cast<int>(threadIdx.x);
    const Global<const std::uint8_t> row(weights_of(params, sum_row(params.op, i / w_pieces)));
    const std::int64_t at = static_cast<std::int64_t>(step) * Format::step_bytes + i % w_pieces * 16;
    const bool present = at < params.weights.data_bytes;
    copy_async(w + (i / w_pieces * Format::stride + i % w_pieces * 16), row + (present ? at : 0),
               present ? 16 : 0);
  }
}

template <class Format, int row_tiles>
using TensorSums = FragmentC[row_tiles][warp_tiles];

/// Which columns of a step are which rows of an mma is free, as long as x and weights agree: a lane takes
/// four neighbours of both.
template <class Format, int row_tiles>
__device__ __forceinline__ void multiply_stage(const Medium& params, const Shared<Half>& x,
                                               const Shared<std::uint8_t>& w,
                                               const typename Format::Groups (&groups)[warp_tiles],
                                               TensorSums<Format, row_tiles>& sums) {
  const int g = static_cast<int>(lane_index()) / 4;
  const int t = static_cast<int>(lane_index()) % 4;
#pragma unroll
  for (int chunk = 0; chunk < step_columns / 32; ++chunk) {
    FragmentB b[warp_tiles][2];
#pragma unroll
    for (int tile = 0; tile < warp_tiles; ++tile) {
      const int row = (static_cast<int>(warp_index()) * warp_tiles + tile) * 8 + g;
      Format::fragments(params.weights, w + row * Format::stride, chunk, groups[tile], b[tile]);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int m = 0; m < row_tiles; ++m) {
        const int at = (m * 16 + g) * x_stride + chunk * 32 + half * 16 + t * 4;
        const auto upper = load_vector<Words2>(x, at);
        const auto lower = load_vector<Words2>(x, at + 8 * x_stride);
        const FragmentA a{{upper.words[0], lower.words[0], upper.words[1], lower.words[1]}};
#pragma unroll
        for (int tile = 0; tile < warp_tiles; ++tile) {
          multiply_add<typename Format::Number>(sums[m][tile], a, b[tile][half]);
        }
      }
    }
  }
}

/// Sums go out finished, or as this split's share of them.
template <class Format, int row_tiles>
__device__ __forceinline__ void store_sums(const Medium& params, const TensorSums<Format, row_tiles>& sums) {
  const Linear& op = params.op;
  const std::int64_t n_sums = op.up != nullptr ? 2 * op.n : op.n;
  const Global<float> partials(params.product.partials);
#pragma unroll
  for (int m = 0; m < row_tiles; ++m) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * row_tiles * 16 + m * 16 + i / 2 * 8 +
                               static_cast<int>(lane_index()) / 4;
      if (row >= op.m) continue;
#pragma unroll
      for (int tile = 0; tile < warp_tiles; ++tile) {
        const int place = (static_cast<int>(warp_index()) * warp_tiles + tile) * 8 +
                          static_cast<int>(lane_index()) % 4 * 2 + i % 2;
        const std::int64_t column = sum_row(op, place);
        if (column >= n_sums || (op.up != nullptr && tile == 0 && column >= op.n)) continue;
        if (params.product.n_splits > 1) {
          partials[(blockIdx.z * op.m + row) * n_sums + column] = sums[m][tile].values[i];
        } else if (op.up == nullptr || tile == 0) {
          store_result(op, row, column, sums[m][tile].values[i], sums[m][warp_tiles - 1].values[i]);
        }
      }
    }
  }
}

template <class Format, int row_tiles>
constexpr int stage_bytes =
    row_tiles * 16 * x_stride* static_cast<int>(sizeof(Half)) + block_weight_rows* Format::stride;

template <class Format, int row_tiles>
__global__ void __launch_bounds__(tensor_threads, 3) linear_tensor_kernel(const Medium params) {
  constexpr int stages = Format::stages;
  constexpr int x_halves = row_tiles * 16 * x_stride;
  const int n_steps = static_cast<int>((params.op.k + step_columns - 1) / step_columns);
  const int first = static_cast<int>(blockIdx.z) * params.steps_of_split;
  const int end = first + params.steps_of_split < n_steps ? first + params.steps_of_split : n_steps;
  const Shared<std::uint8_t> memory = dynamic_shared<std::uint8_t>();
  const auto x_of = [&](int step) {
    return memory_as<Half>(memory + step % stages * stage_bytes<Format, row_tiles>);
  };
  const auto w_of = [&](int step) {
    return memory + (step % stages * stage_bytes<Format, row_tiles> + x_halves * 2);
  };
  const Global<const std::uint8_t> rows[warp_tiles] = {
      weights_of(params, sum_row(params.op, static_cast<int>(warp_index() * 16 + lane_index() / 4))),
      weights_of(params, sum_row(params.op, static_cast<int>(warp_index() * 16 + 8 + lane_index() / 4)))};

#pragma unroll
  for (int step = 0; step < stages - 1; ++step) {
    if (first + step < end) load_stage<Format, row_tiles>(params, first + step, x_of(step), w_of(step));
    commit_copies();
  }
  typename Format::Groups next[warp_tiles];
#pragma unroll
  for (int tile = 0; tile < warp_tiles; ++tile)
    next[tile] = Format::groups(params.weights, rows[tile], first);
  TensorSums<Format, row_tiles> sums = {};
  for (int step = first; step < end; ++step) {
    typename Format::Groups groups[warp_tiles];
#pragma unroll
    for (int tile = 0; tile < warp_tiles; ++tile) {
      groups[tile] = next[tile];
      if (step + 1 < end) next[tile] = Format::groups(params.weights, rows[tile], step + 1);
    }
    wait_for_copies<stages - 2>();
    block_barrier();  // the step is there, and nobody reads the last one any more
    const int ahead = step + stages - 1;
    if (ahead < end) load_stage<Format, row_tiles>(params, ahead, x_of(ahead - first), w_of(ahead - first));
    commit_copies();
    multiply_stage<Format, row_tiles>(params, x_of(step - first), w_of(step - first), groups, sums);
  }
  store_sums<Format, row_tiles>(params, sums);
}

__global__ void join_products_kernel(const Medium params) {
  const Linear& op = params.op;
  const std::int64_t column = element_column();
  if (column >= op.n) return;
  const std::int64_t n_sums = op.up != nullptr ? 2 * op.n : op.n;
  const Global<const float> partials(params.product.partials);
  for (std::int64_t row = blockIdx.y; row < op.m; row += gridDim.y) {
    float sum = 0;
    float up = 0;
    for (std::int64_t split = 0; split < params.product.n_splits; ++split) {
      const std::int64_t at = (split * op.m + row) * n_sums + column;
      sum += partials[at];
      if (op.up != nullptr) up += partials[at + op.n];
    }
    store_result(op, row, column, sum, up);
  }
}

std::int64_t blocks_across(const Linear& op) {
  const std::int64_t columns = op.up != nullptr ? block_weight_rows / 2 : block_weight_rows;
  return (op.n + columns - 1) / columns;
}

constexpr std::int64_t largest_row_tiles = 4;

template <class Format, int row_tiles>
cudaError_t launch_tiles(cudaStream_t stream, Medium& params) {
  const Linear& op = params.op;
  const std::int64_t n_steps = (op.k + step_columns - 1) / step_columns;
  params.steps_of_split = static_cast<int>((n_steps + params.product.n_splits - 1) / params.product.n_splits);
  const Grid grid{static_cast<unsigned>(blocks_across(op)),
                  static_cast<unsigned>((op.m + row_tiles * 16 - 1) / (row_tiles * 16)),
                  static_cast<unsigned>(params.product.n_splits)};
  constexpr std::size_t shared_bytes = Format::stages * stage_bytes<Format, row_tiles>;
  const cudaError_t sums = launch<linear_tensor_kernel<Format, row_tiles>>(
      stream, "linear_tensor", grid, tensor_threads, shared_bytes, params);
  if (sums != cudaSuccess || params.product.n_splits == 1) return sums;
  return launch<join_products_kernel>(stream, "join_products", element_grid(op.m, op.n), element_threads, 0,
                                      params);
}

template <class Format>
cudaError_t launch_format(cudaStream_t stream, Medium& params) {
  if (params.op.m <= 16) return launch_tiles<Format, 1>(stream, params);
  if (params.op.m <= 32) return launch_tiles<Format, 2>(stream, params);
  return launch_tiles<Format, largest_row_tiles>(stream, params);
}

}  // namespace

bool takes_tensor_product(const Linear& op) {
  const auto aligned = [](const void* address) {
    return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
  };
  if (!aligned(op.w) || !aligned(op.up)) return false;
  if (op.grouped == nullptr) return op.element != Element::f32 && op.k % 8 == 0;
  return op.grouped->codebook == nullptr && op.grouped->group >= 32 && op.grouped->scale == Element::f16;
}

std::int64_t tensor_product_splits(const Linear& op, int n_processors, std::int64_t max_floats) {
  constexpr std::int64_t blocks_of_processor = 4;
  constexpr std::int64_t fewest_steps = 4;  // so that copies are worth their start
  const std::int64_t blocks =
      blocks_across(op) * ((op.m + largest_row_tiles * 16 - 1) / (largest_row_tiles * 16));
  const std::int64_t sums = op.m * (op.up != nullptr ? 2 * op.n : op.n);
  const std::int64_t n_steps = (op.k + step_columns - 1) / step_columns;
  std::int64_t splits = blocks_of_processor * n_processors / blocks;
  if (splits > n_steps / fewest_steps) splits = n_steps / fewest_steps;
  if (splits > max_floats / sums) splits = max_floats / sums;
  return splits > 1 ? splits : 1;
}

cudaError_t linear_tensor(cudaStream_t stream, const Linear& op, const TensorProduct& product) {
  if (op.m == 0) return cudaSuccess;
  Medium params{op, product, weight_rows_of(op), narrow_stride(op.k), 0};
  if (op.grouped != nullptr) {
    return op.grouped->bits == 8 ? launch_format<QuantTile<8>>(stream, params)
                                 : launch_format<QuantTile<4>>(stream, params);
  }
  return op.element == Element::bf16 ? launch_format<PlainTile<Bfloat16>>(stream, params)
                                     : launch_format<PlainTile<Half>>(stream, params);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
