// Attention of few rows over pages: a block takes some query heads of one key-value head and a share of the
// positions, each warp every fourth of them; a second kernel joins the shares (flash decoding).
#include "kernels/cuda/attention.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

constexpr int few_threads = 128;
constexpr int few_warps = few_threads / warp_lanes;
/// Query heads of a group that share the loads of their keys.
constexpr int few_queries = 4;

struct Few {
  Attend op;
  std::int64_t n_splits;
  float* partials;  // [rows, n_heads, n_splits, head_size + 2]: sums, highest score, total weight
};

template <int runs>
struct FewProgress {
  float highest[few_queries];
  float total[few_queries];
  float out[few_queries][runs];
};

/// A share's positions for one row.
__device__ __forceinline__ Sight share_of(const Few& few, std::int64_t row, std::int64_t split) {
  const Sight sight = sight_of(few.op, row);
  const std::int64_t size = (sight.limit - sight.start + few.n_splits - 1) / few.n_splits;
  const std::int64_t first = sight.start + split * size;
  const std::int64_t end = first + size < sight.limit ? first + size : sight.limit;
  return {first, end};
}

template <class Keys, int runs>
__device__ __forceinline__ void attend_position(const Keys& keys, std::int64_t position, float scale,
                                                const float (&q)[few_queries][runs],
                                                FewProgress<runs>& progress) {
  const std::int64_t place = keys.place(position);
  float key[runs];
  float value[runs];
#pragma unroll
  for (int run = 0; run < runs; ++run) {
    const std::int64_t d = run * warp_lanes + lane_index();
    key[run] = d < keys.head_size ? keys.key(place, d) : 0.0F;
    value[run] = d < keys.head_size ? keys.value(place, d) : 0.0F;
  }
#pragma unroll
  for (int j = 0; j < few_queries; ++j) {
    float part = 0;
#pragma unroll
    for (int run = 0; run < runs; ++run) part += q[j][run] * key[run];
    const float score = warp_sum(part) * scale;
    const float highest = fmaxf(progress.highest[j], score);
    const float factor = expf(progress.highest[j] - highest);
    const float weight = expf(score - highest);
    progress.highest[j] = highest;
    progress.total[j] = progress.total[j] * factor + weight;
#pragma unroll
    for (int run = 0; run < runs; ++run)
      progress.out[j][run] = progress.out[j][run] * factor + weight * value[run];
  }
}

/// Blocks along x: key-value heads, and parts of their groups; y: shares; z: rows.
template <class Keys, int runs>
__global__ void __launch_bounds__(few_threads) attend_few_kernel(const Few few) {
  const Attend& op = few.op;
  const std::int64_t head_size = op.head_size;
  const std::int64_t group = op.n_heads / op.n_kv_heads;
  const std::int64_t parts = (group + few_queries - 1) / few_queries;
  const std::int64_t kv_head = blockIdx.x / parts;
  const std::int64_t first_head = kv_head * group + blockIdx.x % parts * few_queries;
  const std::int64_t end_head = (kv_head + 1) * group;
  const std::int64_t row = blockIdx.z;
  const Global<const float> q_row(op.q.data + row * op.q.stride);
  const Keys keys(op, 0, kv_head);

  float q[few_queries][runs];
  FewProgress<runs> progress{};
#pragma unroll
  for (int j = 0; j < few_queries; ++j) {
    progress.highest[j] = no_score;
#pragma unroll
    for (int run = 0; run < runs; ++run) {
      const std::int64_t d = run * warp_lanes + lane_index();
      q[j][run] = first_head + j < end_head && d < head_size ? q_row[(first_head + j) * head_size + d] : 0.0F;
    }
  }
  const Sight share = share_of(few, row, blockIdx.y);
  for (std::int64_t position = share.start + warp_index(); position < share.limit; position += few_warps) {
    attend_position<Keys, runs>(keys, position, op.scale, q, progress);
  }

  // The warps' sums meet in shared memory: per warp and query the sums, the highest score, the total weight.
  const Shared<float> meeting = dynamic_shared<float>();
  const std::int64_t record = head_size + 2;
#pragma unroll
  for (int j = 0; j < few_queries; ++j) {
    const std::int64_t at = (warp_index() * few_queries + j) * record;
#pragma unroll
    for (int run = 0; run < runs; ++run) {
      const std::int64_t d = run * warp_lanes + lane_index();
      if (d < head_size) meeting[at + d] = progress.out[j][run];
    }
    if (lane_index() == 0) {
      meeting[at + head_size] = progress.highest[j];
      meeting[at + head_size + 1] = progress.total[j];
    }
  }
  block_barrier();
  const Global<float> partials(few.partials);
  for (std::int64_t i = threadIdx.x; i < few_queries * head_size; i += few_threads) {
    const std::int64_t j = i / head_size;
    const std::int64_t d = i % head_size;
    if (first_head + j >= end_head) continue;
    float highest = no_score;
    for (int warp = 0; warp < few_warps; ++warp) {
      highest = fmaxf(highest, meeting[(warp * few_queries + j) * record + head_size]);
    }
    float sum = 0;
    float total = 0;
    for (int warp = 0; warp < few_warps; ++warp) {
      const std::int64_t at = (warp * few_queries + j) * record;
      const float factor = expf(meeting[at + head_size] - highest);
      sum += meeting[at + d] * factor;
      total += meeting[at + head_size + 1] * factor;
    }
    const std::int64_t to = ((row * op.n_heads + first_head + j) * few.n_splits + blockIdx.y) * record;
    partials[to + d] = sum;
    if (d == 0) {
      partials[to + head_size] = highest;
      partials[to + head_size + 1] = total;
    }
  }
}

/// A block a head of a row: joins its shares.
__global__ void join_shares_kernel(const Few few) {
  const Attend& op = few.op;
  const std::int64_t record = op.head_size + 2;
  const std::int64_t row = blockIdx.y;
  const std::int64_t head = blockIdx.x;
  const Global<const float> partials(few.partials + (row * op.n_heads + head) * few.n_splits * record);
  const Global<float> out(op.out.data + row * op.out.stride + head * op.head_size);
  float highest = no_score;
  for (std::int64_t split = 0; split < few.n_splits; ++split) {
    highest = fmaxf(highest, partials[split * record + op.head_size]);
  }
  for (std::int64_t d = threadIdx.x; d < op.head_size; d += blockDim.x) {
    float sum = 0;
    float total = 0;
    for (std::int64_t split = 0; split < few.n_splits; ++split) {
      const float factor = expf(partials[split * record + op.head_size] - highest);
      sum += partials[split * record + d] * factor;
      total += partials[split * record + op.head_size + 1] * factor;
    }
    out[d] = sum / total;
  }
}

template <class Keys, int runs>
cudaError_t launch_few(cudaStream_t stream, const Few& few) {
  const Attend& op = few.op;
  const std::int64_t parts = (op.n_heads / op.n_kv_heads + few_queries - 1) / few_queries;
  const Grid grid{static_cast<unsigned>(op.n_kv_heads * parts), static_cast<unsigned>(few.n_splits),
                  static_cast<unsigned>(op.q.rows)};
  const auto shared_bytes =
      static_cast<std::size_t>(few_warps * few_queries * (op.head_size + 2)) * sizeof(float);
  const cudaError_t shares =
      launch<attend_few_kernel<Keys, runs>>(stream, "attend_few", grid, few_threads, shared_bytes, few);
  if (shares != cudaSuccess) return shares;
  const Grid heads{static_cast<unsigned>(op.n_heads), static_cast<unsigned>(op.q.rows), 1};
  return launch<join_shares_kernel>(stream, "join_shares", heads, few_threads, 0, few);
}

template <class Keys>
cudaError_t launch_runs(cudaStream_t stream, const Few& few) {
  switch (runs_of(few.op.head_size)) {
    case 1:
      return launch_few<Keys, 1>(stream, few);
    case 2:
      return launch_few<Keys, 2>(stream, few);
    case 3:
      return launch_few<Keys, 3>(stream, few);
    case 4:
      return launch_few<Keys, 4>(stream, few);
    default:
      return launch_few<Keys, most_runs>(stream, few);
  }
}

}  // namespace

cudaError_t attend_few(cudaStream_t stream, const Attend& op, std::int64_t n_splits, float* partials) {
  if (op.q.rows == 0) return cudaSuccess;
  const Few few{op, n_splits, partials};
  return op.paged.element == Element::f32 ? launch_runs<PageKeys<float>>(stream, few)
                                          : launch_runs<PageKeys<Half>>(stream, few);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
