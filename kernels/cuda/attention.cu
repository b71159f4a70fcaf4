// Attention of many rows: a block takes 16 queries of one key-value head through tiles of 32 positions, with
// scores kept no longer than a tile (arXiv:2205.14135, arXiv:2307.08691).
#include "kernels/cuda/attention.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

constexpr int many_threads = 128;
constexpr int many_warps = many_threads / warp_lanes;
constexpr int warp_queries = 4;
constexpr int block_queries = many_warps * warp_queries;
constexpr int tile_keys = warp_lanes;  // a lane scores one key

/// Floats of shared memory: queries, one tile of keys or values, weights. Rows of the tile are an element
/// longer, so that 32 lanes that read 32 rows meet no bank twice.
constexpr std::int64_t many_floats(std::int64_t head_size) {
  return block_queries * head_size + tile_keys * (head_size + 1) + block_queries * tile_keys;
}

/// What a warp knows of its queries so far.
template <int runs>
struct Progress {
  float highest[warp_queries];
  float total[warp_queries];
  float out[warp_queries][runs];
};

struct Tile {
  std::int64_t first, end;  // positions; those from `end` on are filled with 0
};

template <bool values, class Keys>
__device__ __forceinline__ void load_tile(const Keys& keys, const Tile& tile, std::int64_t head_size,
                                          const Shared<float>& to) {
  for (int t = static_cast<int>(warp_index()); t < tile_keys; t += many_warps) {
    const std::int64_t position = tile.first + t;
    const bool present = position < tile.end;
    const std::int64_t place = present ? keys.place(position) : 0;
    for (std::int64_t d = lane_index(); d < head_size; d += warp_lanes) {
      to[t * (head_size + 1) + d] = !present ? 0.0F : (values ? keys.value(place, d) : keys.key(place, d));
    }
  }
}

/// Scores of the lane's key turn into weights in shared memory, and sums move to the new highest score.
template <int runs>
__device__ __forceinline__ void weigh(const Attend& op, std::int64_t first_query, const Tile& tile,
                                      const float (&scores)[warp_queries], const Shared<float>& weights,
                                      Progress<runs>& progress) {
  const std::int64_t group = op.n_heads / op.n_kv_heads;
  const std::int64_t position = tile.first + lane_index();
#pragma unroll
  for (int j = 0; j < warp_queries; ++j) {
    const Sight sight = sight_of(op, (first_query + j) / group);
    const bool seen = position < tile.end && sees(op, sight, position);
    const float score = seen ? scores[j] * op.scale : no_score;
    const float highest = fmaxf(progress.highest[j], warp_max(score));
    const float weight = seen ? expf(score - highest) : 0.0F;
    const float factor = expf(progress.highest[j] - highest);
    progress.highest[j] = highest;
    progress.total[j] = progress.total[j] * factor + warp_sum(weight);
#pragma unroll
    for (int run = 0; run < runs; ++run) progress.out[j][run] *= factor;
    weights[(warp_index() * warp_queries + j) * tile_keys + lane_index()] = weight;
  }
}

template <int runs>
__device__ __forceinline__ void add_values(std::int64_t head_size, const Shared<float>& tile,
                                           const Shared<float>& weights, Progress<runs>& progress) {
// All at once would need more registers than there are.
#pragma unroll 4
  for (int t = 0; t < tile_keys; ++t) {
    float value[runs];
#pragma unroll
    for (int run = 0; run < runs; ++run) {
      const std::int64_t d = run * warp_lanes + lane_index();
      value[run] = d < head_size ? static_cast<float>(tile[t * (head_size + 1) + d]) : 0.0F;
    }
#pragma unroll
    for (int j = 0; j < warp_queries; ++j) {
      const float weight = weights[(warp_index() * warp_queries + j) * tile_keys + t];
#pragma unroll
      for (int run = 0; run < runs; ++run) progress.out[j][run] += weight * value[run];
    }
  }
}

template <class Keys, int runs>
__global__ void __launch_bounds__(many_threads) attend_many_kernel(const Attend op) {
  const std::int64_t head_size = op.head_size;
  const std::int64_t group = op.n_heads / op.n_kv_heads;
  const std::int64_t kv_head = blockIdx.y;
  const std::int64_t n_rows = op.tile_rows > 0 ? op.tile_rows : op.q.rows;
  const std::int64_t first_row = op.tile_rows > 0 ? blockIdx.z * op.tile_rows : 0;
  const std::int64_t n_queries = n_rows * group;
  const std::int64_t block_first = static_cast<std::int64_t>(blockIdx.x) * block_queries;
  const Global<const float> q(op.q.data + first_row * op.q.stride);
  const Global<float> out(op.out.data + first_row * op.out.stride);
  const Keys keys(op, first_row, kv_head);

  const Shared<float> queries = dynamic_shared<float>();
  const Shared<float> tile_values = queries + block_queries * head_size;
  const Shared<float> weights = tile_values + tile_keys * (head_size + 1);
  // Query i of the block is head i % group of row i / group; missing ones are 0.
  for (int i = static_cast<int>(warp_index()); i < block_queries; i += many_warps) {
    const std::int64_t query = block_first + i;
    const bool present = query < n_queries;
    const std::int64_t at =
        present ? query / group * op.q.stride + (kv_head * group + query % group) * head_size : 0;
    for (std::int64_t d = lane_index(); d < head_size; d += warp_lanes) {
      queries[i * head_size + d] = present ? q[at + d] : 0.0F;
    }
  }

  Progress<runs> progress{};
#pragma unroll
  for (int j = 0; j < warp_queries; ++j) progress.highest[j] = no_score;
  const std::int64_t warp_first = block_first + warp_index() * warp_queries;
  const std::int64_t block_last =
      block_first + block_queries < n_queries ? block_first + block_queries : n_queries;
  const std::int64_t start = sight_of(op, block_first / group).start;
  const std::int64_t end = sight_of(op, (block_last - 1) / group).limit;
  for (std::int64_t first = next_tile<tile_keys>(op, start, 0); first < end;
       first = next_tile<tile_keys>(op, start, first + tile_keys)) {
    const Tile tile{first, end};
    block_barrier();  // nobody reads the last tile's values any more
    load_tile<false>(keys, tile, head_size, tile_values);
    block_barrier();
    float scores[warp_queries] = {};
    for (std::int64_t d = 0; d < head_size; ++d) {
      const float key = tile_values[lane_index() * (head_size + 1) + d];
#pragma unroll
      for (int j = 0; j < warp_queries; ++j) {
        scores[j] += queries[(warp_index() * warp_queries + j) * head_size + d] * key;
      }
    }
    weigh<runs>(op, warp_first, tile, scores, weights, progress);
    block_barrier();  // nobody reads the keys any more
    load_tile<true>(keys, tile, head_size, tile_values);
    block_barrier();
    add_values<runs>(head_size, tile_values, weights, progress);
  }

#pragma unroll
  for (int j = 0; j < warp_queries; ++j) {
    const std::int64_t query = warp_first + j;
    if (query >= n_queries) continue;
    const std::int64_t at = query / group * op.out.stride + (kv_head * group + query % group) * head_size;
#pragma unroll
    for (int run = 0; run < runs; ++run) {
      const std::int64_t d = run * warp_lanes + lane_index();
      if (d < head_size) out[at + d] = progress.out[j][run] / progress.total[j];
    }
  }
}

template <class Keys, int runs>
cudaError_t launch_many(cudaStream_t stream, const Attend& op) {
  const std::int64_t n_rows = op.tile_rows > 0 ? op.tile_rows : op.q.rows;
  const std::int64_t n_queries = n_rows * (op.n_heads / op.n_kv_heads);
  const Grid grid{static_cast<unsigned>((n_queries + block_queries - 1) / block_queries),
                  static_cast<unsigned>(op.n_kv_heads),
                  static_cast<unsigned>(op.tile_rows > 0 ? op.q.rows / op.tile_rows : 1)};
  const auto shared_bytes = static_cast<std::size_t>(many_floats(op.head_size)) * sizeof(float);
  return launch<attend_many_kernel<Keys, runs>>(stream, "attend_many", grid, many_threads, shared_bytes, op);
}

template <class Keys>
cudaError_t launch_runs(cudaStream_t stream, const Attend& op) {
  switch (runs_of(op.head_size)) {
    case 1:
      return launch_many<Keys, 1>(stream, op);
    case 2:
      return launch_many<Keys, 2>(stream, op);
    case 3:
      return launch_many<Keys, 3>(stream, op);
    case 4:
      return launch_many<Keys, 4>(stream, op);
    default:
      return launch_many<Keys, most_runs>(stream, op);
  }
}

}  // namespace

cudaError_t attend_many(cudaStream_t stream, const Attend& op) {
  if (op.q.rows == 0) return cudaSuccess;
  if (op.k != nullptr) return launch_runs<DenseKeys>(stream, op);
  if (op.paged.grouped.bits != 0) return launch_runs<QuantKeys>(stream, op);
  return op.paged.element == Element::f32 ? launch_runs<PageKeys<float>>(stream, op)
                                          : launch_runs<PageKeys<Half>>(stream, op);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
