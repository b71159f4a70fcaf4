// Attention of many rows on tensor cores (flash attention, arXiv:2307.08691): a block takes 64 or 128 queries
// of one key-value head through tiles of keys and values in FP16, sums in FP32. A tile's values come while
// its scores are computed, and the next one's keys while they are added up.
#include "kernels/cuda/attention_sources.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

constexpr int tile_threads = 128;
constexpr int tile_warps = tile_threads / warp_lanes;
constexpr int rows_of_product = 16;  // an mma's
/// Halves between the ends and beginnings of rows in shared memory: eight rows that ldmatrix reads at once
/// lie in different banks.
constexpr int row_gap = 8;

/// What a head's size, rounded up to `width`, is computed with: products side by side in a warp, and keys of
/// a tile, so that sums, scores and queries fit into registers.
template <int width>
struct Tiling {
  static constexpr int products = width <= 128 ? 2 : 1;
  static constexpr int keys = width <= 64 ? 64 : 32;
  static constexpr int queries = tile_warps * rows_of_product * products;
  static constexpr int stride = width + row_gap;
  static constexpr bool queries_stay = width <= 64;  // in registers
  static constexpr int shared_halves = (2 * keys + queries) * stride;
};

/// Of the two rows that a lane holds of each product: what they see, their highest score and their weights'
/// sum.
template <int products>
struct Lines {
  int start[products][2];
  int limit[products][2];
  float highest[products][2];
  float total[products][2];
};

template <bool values, int width, class Source>
__device__ __forceinline__ void load_tile(const Source& source, int first, int end, const Shared<Half>& to) {
  constexpr int pieces = width / piece_halves;
  static_assert(Tiling<width>::keys * pieces % tile_threads == 0);
#pragma unroll Source::pieces_at_once
  for (int turn = 0; turn < Tiling<width>::keys * pieces / tile_threads; ++turn) {
    const int i = turn * tile_threads + static_cast<int>(threadIdx.x);
    const int t = i / pieces;
    const int d = i % pieces * piece_halves;
    source.template copy<values>(first + t, first + t < end, d, to + (t * Tiling<width>::stride + d));
  }
  commit_copies();
}

/// Query i of the block is head i % group of row i / group; missing ones are 0.
template <int width>
__device__ __forceinline__ void load_queries(const Attend& op, const Global<const float>& q, int block_first,
                                             int n_queries, const Shared<Half>& to) {
  constexpr int pieces = width / piece_halves;
  const int group = static_cast<int>(op.n_heads / op.n_kv_heads);
  for (int i = static_cast<int>(threadIdx.x); i < Tiling<width>::queries * pieces; i += tile_threads) {
    const int query = block_first + i / pieces;
    const int d = i % pieces * piece_halves;
    const std::int64_t at =
        query / group * op.q.stride + (blockIdx.y * group + query % group) * op.head_size + d;
    Words4 piece;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const bool low = query < n_queries && d + 2 * j < op.head_size;
      const bool high = query < n_queries && d + 2 * j + 1 < op.head_size;
      piece.words[j] = pack_saturated(low ? q[at + 2 * j] : 0.0F, high ? q[at + 2 * j + 1] : 0.0F);
    }
    store_vector(to, i / pieces * Tiling<width>::stride + d, piece);
  }
}

/// Row and column of a lane's address within a [16, 16] of a row-major matrix, as load_matrices() takes them
/// for a FragmentA, or load_transposed() for two FragmentB beside each other.
__device__ __forceinline__ int lane_row() {
  return static_cast<int>(lane_index()) % 16;
}
__device__ __forceinline__ int lane_column() {
  return static_cast<int>(lane_index()) / 16 * 8;
}

template <int width>
__device__ __forceinline__ void load_query(const Shared<Half>& queries, int product, int step,
                                           FragmentA& to) {
  const int row = (static_cast<int>(warp_index()) * Tiling<width>::products + product) * rows_of_product;
  load_matrices(to.words, queries + ((row + lane_row()) * Tiling<width>::stride + step * 16 + lane_column()));
}

template <int width>
using Scores = FragmentC[Tiling<width>::products][Tiling<width>::keys / 8];
template <int width>
using Sums = FragmentC[Tiling<width>::products][width / 8];

/// `own` are the warp's queries where they stay in registers.
template <int width>
__device__ __forceinline__ void multiply_keys(const Shared<Half>& keys, const Shared<Half>& queries,
                                              const FragmentA (&own)[Tiling<width>::products][width / 16],
                                              Scores<width>& scores) {
  constexpr int products = Tiling<width>::products;
#pragma unroll
  for (int step = 0; step < width / 16; ++step) {
    FragmentA query[products];
#pragma unroll
    for (int p = 0; p < products; ++p) {
      if constexpr (Tiling<width>::queries_stay) {
        query[p] = own[p][step];
      } else {
        load_query<width>(queries, p, step, query[p]);
      }
    }
#pragma unroll
    for (int n = 0; n < Tiling<width>::keys; n += 16) {
      // Keys n to n + 7 at both halves of the step, then the next eight keys.
      std::uint32_t words[4];
      const int key = n + static_cast<int>(lane_index()) / 16 * 8 + static_cast<int>(lane_index()) % 8;
      const int d = step * 16 + static_cast<int>(lane_index()) / 8 % 2 * 8;
      load_matrices(words, keys + (key * Tiling<width>::stride + d));
#pragma unroll
      for (int p = 0; p < products; ++p) {
        multiply_add<Half>(scores[p][n / 8], query[p], FragmentB{{words[0], words[1]}});
        multiply_add<Half>(scores[p][n / 8 + 1], query[p], FragmentB{{words[2], words[3]}});
      }
    }
  }
}

/// Scores that a row does not see become no_score. Tiles that all see are the most.
template <int width>
__device__ __forceinline__ void hide_unseen(int first, int sinks, const Lines<Tiling<width>::products>& lines,
                                            Scores<width>& scores) {
#pragma unroll
  for (int p = 0; p < Tiling<width>::products; ++p) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int start = lines.start[p][half];
      const int limit = lines.limit[p][half];
      if (first >= start && first + Tiling<width>::keys <= limit) continue;
#pragma unroll
      for (int n = 0; n < Tiling<width>::keys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int position = first + n * 8 + static_cast<int>(lane_index()) % 4 * 2 + i;
          const bool seen = position < limit && (position >= start || position < sinks);
          if (!seen) scores[p][n].values[2 * half + i] = no_score;
        }
      }
    }
  }
}

/// Scores turn into weights, and sums move to the new highest score. `factor`: to scores in powers of two.
template <int width>
__device__ __forceinline__ void weigh(float factor, Lines<Tiling<width>::products>& lines,
                                      Scores<width>& scores, Sums<width>& sums) {
#pragma unroll
  for (int p = 0; p < Tiling<width>::products; ++p) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float highest = lines.highest[p][half];
#pragma unroll
      for (int n = 0; n < Tiling<width>::keys / 8; ++n) {
        highest = fmaxf(highest, fmaxf(scores[p][n].values[2 * half], scores[p][n].values[2 * half + 1]));
      }
      highest = fmaxf(highest, shuffle_xor(highest, 1));
      highest = fmaxf(highest, shuffle_xor(highest, 2));
      // A row that has seen nothing yet keeps weights of 0.
      const float level = highest > no_score ? highest * factor : 0.0F;
      const float rescale = exp2f(lines.highest[p][half] * factor - level);
      lines.highest[p][half] = highest;
      float total = 0;
#pragma unroll
      for (int n = 0; n < Tiling<width>::keys / 8; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          const float weight = exp2f(scores[p][n].values[i] * factor - level);
          scores[p][n].values[i] = weight;
          total += weight;
        }
      }
      lines.total[p][half] = lines.total[p][half] * rescale + total;
#pragma unroll
      for (int n = 0; n < width / 8; ++n) {
        sums[p][n].values[2 * half] *= rescale;
        sums[p][n].values[2 * half + 1] *= rescale;
      }
    }
  }
}

template <int width>
__device__ __forceinline__ void add_values(const Shared<Half>& values, const Scores<width>& weights,
                                           Sums<width>& sums) {
#pragma unroll
  for (int step = 0; step < Tiling<width>::keys / 16; ++step) {
    // Results of one product lie as the operand of the next.
    FragmentA weight[Tiling<width>::products];
#pragma unroll
    for (int p = 0; p < Tiling<width>::products; ++p) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const FragmentC& from = weights[p][2 * step + i / 2];
        weight[p].words[i] = pack_halves(from.values[i % 2 * 2], from.values[i % 2 * 2 + 1]);
      }
    }
#pragma unroll
    for (int n = 0; n < width; n += 16) {
      std::uint32_t words[4];
      load_transposed(words, values + ((step * 16 + lane_row()) * Tiling<width>::stride + n + lane_column()));
#pragma unroll
      for (int p = 0; p < Tiling<width>::products; ++p) {
        multiply_add<Half>(sums[p][n / 8], weight[p], FragmentB{{words[0], words[1]}});
        multiply_add<Half>(sums[p][n / 8 + 1], weight[p], FragmentB{{words[2], words[3]}});
      }
    }
  }
}

template <int width>
__device__ __forceinline__ void store_rows(const Attend& op, const Global<float>& out, int block_first,
                                           int n_queries, const Lines<Tiling<width>::products>& lines,
                                           const Sums<width>& sums) {
  const int group = static_cast<int>(op.n_heads / op.n_kv_heads);
#pragma unroll
  for (int p = 0; p < Tiling<width>::products; ++p) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = lines.total[p][half];
      total += shuffle_xor(total, 1);
      total += shuffle_xor(total, 2);
      const int line = (static_cast<int>(warp_index()) * Tiling<width>::products + p) * rows_of_product +
                       half * 8 + static_cast<int>(lane_index()) / 4;
      const int query = block_first + line;
      if (query >= n_queries) continue;
      const float scale = 1.0F / total;
      const std::int64_t at =
          query / group * op.out.stride + (blockIdx.y * group + query % group) * op.head_size;
#pragma unroll
      for (int n = 0; n < width / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int d = n * 8 + static_cast<int>(lane_index()) % 4 * 2 + i;
          if (d < op.head_size) out[at + d] = sums[p][n].values[2 * half + i] * scale;
        }
      }
    }
  }
}

template <int width>
__device__ __forceinline__ Lines<Tiling<width>::products> lines_of(const Attend& op, int block_first,
                                                                   int n_queries) {
  const int group = static_cast<int>(op.n_heads / op.n_kv_heads);
  Lines<Tiling<width>::products> lines;
#pragma unroll
  for (int p = 0; p < Tiling<width>::products; ++p) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int line = (static_cast<int>(warp_index()) * Tiling<width>::products + p) * rows_of_product +
                       half * 8 + static_cast<int>(lane_index()) / 4;
      const int query = block_first + line;
      const Sight sight = query < n_queries ? sight_of(op, query / group) : Sight{0, 0};
      lines.start[p][half] = static_cast<int>(sight.start);
      lines.limit[p][half] = static_cast<int>(sight.limit);
      lines.highest[p][half] = no_score;
      lines.total[p][half] = 0;
    }
  }
  return lines;
}

// Of small heads the compiler would give up registers for a third block, and spill.
template <class Source, int width>
__global__ void __launch_bounds__(tile_threads, width <= 32 ? 2 : 1) attend_tensor_kernel(const Attend op) {
  constexpr int products = Tiling<width>::products;
  const int group = static_cast<int>(op.n_heads / op.n_kv_heads);
  const std::int64_t first_row = op.tile_rows > 0 ? blockIdx.z * op.tile_rows : 0;
  const int n_queries = static_cast<int>(op.tile_rows > 0 ? op.tile_rows : op.q.rows) * group;
  // Late queries see the most: they begin first.
  const int block_first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Tiling<width>::queries;
  const Global<const float> q(op.q.data + first_row * op.q.stride);
  const Global<float> out(op.out.data + first_row * op.out.stride);
  const Source source(op, first_row, blockIdx.y);

  const Shared<Half> keys = dynamic_shared<Half>();
  const Shared<Half> values = keys + Tiling<width>::keys * Tiling<width>::stride;
  const Shared<Half> queries = values + Tiling<width>::keys * Tiling<width>::stride;
  const int block_end = block_first + Tiling<width>::queries;
  const int last_row = ((block_end < n_queries ? block_end : n_queries) - 1) / group;
  const std::int64_t start = sight_of(op, block_first / group).start;
  const int begin = static_cast<int>(next_tile<Tiling<width>::keys>(op, start, 0));
  const int end = static_cast<int>(sight_of(op, last_row).limit);

  load_tile<false, width>(source, begin, end, keys);
  load_queries<width>(op, q, block_first, n_queries, queries);
  block_barrier();
  FragmentA own[products][width / 16];
  if constexpr (Tiling<width>::queries_stay) {
#pragma unroll
    for (int p = 0; p < products; ++p) {
#pragma unroll
      for (int step = 0; step < width / 16; ++step) load_query<width>(queries, p, step, own[p][step]);
    }
  }
  Lines<products> lines = lines_of<width>(op, block_first, n_queries);
  Sums<width> sums = {};
  const float factor = op.scale * 1.44269504088896341F;
  for (int first = begin, next = 0; first < end; first = next) {
    wait_for_copies<0>();
    block_barrier();  // the keys are there, and nobody reads the last tile's values any more
    load_tile<true, width>(source, first, end, values);
    Scores<width> scores = {};
    multiply_keys<width>(keys, queries, own, scores);
    hide_unseen<width>(first, static_cast<int>(op.sinks), lines, scores);
    weigh<width>(factor, lines, scores, sums);
    wait_for_copies<0>();
    block_barrier();  // the values are there, and nobody reads the keys any more
    next = static_cast<int>(next_tile<Tiling<width>::keys>(op, start, first + Tiling<width>::keys));
    if (next < end) load_tile<false, width>(source, next, end, keys);
    add_values<width>(values, scores, sums);
  }
  store_rows<width>(op, out, block_first, n_queries, lines, sums);
}

template <class Source, int width>
cudaError_t launch_width(cudaStream_t stream, const Attend& op) {
  const std::int64_t n_rows = op.tile_rows > 0 ? op.tile_rows : op.q.rows;
  const std::int64_t n_queries = n_rows * (op.n_heads / op.n_kv_heads);
  constexpr std::int64_t of_block = Tiling<width>::queries;
  const Grid grid{static_cast<unsigned>((n_queries + of_block - 1) / of_block),
                  static_cast<unsigned>(op.n_kv_heads),
                  static_cast<unsigned>(op.tile_rows > 0 ? op.q.rows / op.tile_rows : 1)};
  return launch<attend_tensor_kernel<Source, width>>(stream, "attend_tensor", grid, tile_threads,
                                                     sizeof(Half) * Tiling<width>::shared_halves, op);
}

template <class Source>
cudaError_t launch_source(cudaStream_t stream, const Attend& op) {
  if (op.head_size <= 32) return launch_width<Source, 32>(stream, op);
  if (op.head_size <= 64) return launch_width<Source, 64>(stream, op);
  if (op.head_size <= 96) return launch_width<Source, 96>(stream, op);
  if (op.head_size <= 128) return launch_width<Source, 128>(stream, op);
  return launch_width<Source, 256>(stream, op);
}

}  // namespace

cudaError_t attend_tensor(cudaStream_t stream, const Attend& op) {
  if (op.q.rows == 0) return cudaSuccess;
  if (op.k != nullptr) {
    return FloatRows::fits(op) ? launch_source<FloatRows>(stream, op)
                               : launch_source<AnyKeys<DenseKeys>>(stream, op);
  }
  if (op.paged.grouped.bits == 8) return launch_source<QuantPages<8>>(stream, op);
  if (op.paged.grouped.bits == 4) return launch_source<QuantPages<4>>(stream, op);
  return HalfPages::fits(op) ? launch_source<HalfPages>(stream, op)
                             : launch_source<AnyKeys<PageKeys<Half>>>(stream, op);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
