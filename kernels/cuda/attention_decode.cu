// Attention of few rows over pages: a block takes some query heads of one key-value head and a share of the
// positions, several lanes a position and several positions a warp; a second kernel joins the shares (flash
// decoding).
#include "kernels/cuda/kv_pieces.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

constexpr int few_threads = 128;
constexpr int few_warps = few_threads / warp_lanes;

struct Few {
  Attend op;
  RowPlaces places;
  std::int64_t n_splits;  // at most
  float* partials;        // [rows, n_heads, n_splits, head_size + 2]: sums, highest score, total weight
};

/// What a lane knows of its positions so far: sums of its piece's elements.
template <int queries>
struct FewProgress {
  float highest[queries];
  float total[queries];
  float out[queries][piece_elements];
};

/// Of the positions that a row sees, sinks come first and then its window.
struct Seen {
  std::int64_t sinks, hidden;  // how many sinks lie before the window, and how many positions between the two
  std::int64_t count;
};

__device__ __forceinline__ Seen seen_by(const Few& few, std::int64_t row) {
  const Sight sight = sight_at(few.op, Global<const std::int32_t>(few.places.positions)[row]);
  const std::int64_t sinks = few.op.sinks < sight.start ? few.op.sinks : sight.start;
  const std::int64_t hidden = sight.start - sinks;
  return {sinks, hidden, sight.limit - hidden};
}

/// Blocks that share a row's positions.
__device__ __forceinline__ std::int64_t splits_of(const Few& few, const Seen& seen) {
  const std::int64_t wanted = (seen.count + split_positions - 1) / split_positions;
  return wanted < few.n_splits ? wanted : few.n_splits;
}

/// Numbers [first, end) of the positions that a row sees.
struct Share {
  int first, end;
  int sinks, hidden;

  __device__ __forceinline__ int position(int number) const {
    return number < sinks ? number : number + hidden;
  }
};

__device__ __forceinline__ Share share_of(const Seen& seen, std::int64_t n_splits, std::int64_t split) {
  const std::int64_t size = (seen.count + n_splits - 1) / n_splits;
  const std::int64_t first = split * size;
  const std::int64_t end = first + size < seen.count ? first + size : seen.count;
  return {static_cast<int>(first), static_cast<int>(end), static_cast<int>(seen.sinks),
          static_cast<int>(seen.hidden)};
}

/// Scores of `batch` positions, each summed over the lanes that share it, and their values' weighted sums.
template <int lanes, int queries, class Source>
__device__ __forceinline__ void attend_batch(const Source& source, float scale,
                                             const typename Source::Raw (&keys)[Source::batch],
                                             const typename Source::Raw (&values)[Source::batch],
                                             const bool (&present)[Source::batch],
                                             const float (&q)[queries][piece_elements],
                                             FewProgress<queries>& progress) {
  float scores[Source::batch][queries];
#pragma unroll
  for (int u = 0; u < Source::batch; ++u) {
    float key[piece_elements];
    source.widen_to(keys[u], key);
#pragma unroll
    for (int j = 0; j < queries; ++j) {
      float score = 0;
#pragma unroll
      for (int i = 0; i < piece_elements; ++i) score += q[j][i] * key[i];
#pragma unroll
      for (int step = lanes / 2; step > 0; step /= 2)
        score += shuffle_xor(score, static_cast<unsigned>(step));
      scores[u][j] = present[u] ? score * scale : no_score;
    }
  }
#pragma unroll
  for (int j = 0; j < queries; ++j) {
    float highest = progress.highest[j];
#pragma unroll
    for (int u = 0; u < Source::batch; ++u) highest = fmaxf(highest, scores[u][j]);
    const float factor = expf(progress.highest[j] - highest);
    progress.highest[j] = highest;
    progress.total[j] *= factor;
#pragma unroll
    for (int i = 0; i < piece_elements; ++i) progress.out[j][i] *= factor;
  }
#pragma unroll
  for (int u = 0; u < Source::batch; ++u) {
    float value[piece_elements];
    source.widen_to(values[u], value);
#pragma unroll
    for (int j = 0; j < queries; ++j) {
      const float weight = present[u] ? expf(scores[u][j] - progress.highest[j]) : 0.0F;
      progress.total[j] += weight;
#pragma unroll
      for (int i = 0; i < piece_elements; ++i) progress.out[j][i] += weight * value[i];
    }
  }
}

/// Positions of a share, `batch` of each lane's loaded before the first is used.
template <int lanes, int queries, class Source>
__device__ __forceinline__ void attend_share(const Source& source, const Attend& op, const Share& share,
                                             const float (&q)[queries][piece_elements],
                                             FewProgress<queries>& progress) {
  constexpr int at_once = few_warps * (warp_lanes / lanes);
  const int piece = static_cast<int>(lane_index()) % lanes;
  const bool has_piece = piece < Source::pieces_of(static_cast<int>(op.head_size));
  const int own = static_cast<int>(threadIdx.x) / lanes;
  for (int first = share.first; first < share.end; first += Source::batch * at_once) {
    typename Source::Raw keys[Source::batch] = {};
    typename Source::Raw values[Source::batch] = {};
    bool present[Source::batch];
#pragma unroll
    for (int u = 0; u < Source::batch; ++u) {
      const int number = first + u * at_once + own;
      present[u] = number < share.end;
      if (present[u] && has_piece) {
        const int position = share.position(number);
        keys[u] = source.template load<false>(position, piece);
        values[u] = source.template load<true>(position, piece);
      }
    }
    attend_batch<lanes, queries>(source, op.scale, keys, values, present, q, progress);
  }
}

/// Lanes with positions of their own meet in shared memory: per such group of lanes and query the sums, the
/// highest score, the total weight.
template <int lanes, int queries>
__device__ __forceinline__ void meet(const Attend& op, const Runs& runs, const FewProgress<queries>& progress,
                                     const Shared<float>& meeting) {
  const std::int64_t record = op.head_size + 2;
  const std::int64_t own = threadIdx.x / lanes;
#pragma unroll
  for (int j = 0; j < queries; ++j) {
    const std::int64_t at = (own * queries + j) * record;
#pragma unroll
    for (int i = 0; i < piece_elements; ++i) {
      if (runs.element(i) < op.head_size) meeting[at + runs.element(i)] = progress.out[j][i];
    }
    if (lane_index() % lanes == 0) {
      meeting[at + op.head_size] = progress.highest[j];
      meeting[at + op.head_size + 1] = progress.total[j];
    }
  }
}

/// Blocks along x: key-value heads, and parts of their groups; y: shares; z: rows.
template <class Source, int lanes, int queries>
__global__ void __launch_bounds__(few_threads) attend_few_kernel(const Few few) {
  Attend op = few.op;
  op.paged.pages += Global<const std::int32_t>(few.places.tables)[blockIdx.z];
  const std::int64_t head_size = op.head_size;
  const std::int64_t group = op.n_heads / op.n_kv_heads;
  const std::int64_t parts = (group + queries - 1) / queries;
  const std::int64_t kv_head = blockIdx.x / parts;
  const std::int64_t first_head = kv_head * group + blockIdx.x % parts * queries;
  const std::int64_t end_head = (kv_head + 1) * group;
  const std::int64_t row = blockIdx.z;
  const Seen seen = seen_by(few, row);
  const std::int64_t n_splits = splits_of(few, seen);
  if (blockIdx.y >= n_splits) return;
  const Global<const float> q_row(op.q.data + row * op.q.stride);
  const Source source(op, kv_head);

  const Runs runs = Source::runs(static_cast<int>(lane_index()) % lanes);
  float q[queries][piece_elements];
  FewProgress<queries> progress{};
#pragma unroll
  for (int j = 0; j < queries; ++j) {
    progress.highest[j] = no_score;
#pragma unroll
    for (int i = 0; i < piece_elements; ++i) {
      const int d = runs.element(i);
      q[j][i] = first_head + j < end_head && d < head_size ? q_row[(first_head + j) * head_size + d] : 0.0F;
    }
  }
  attend_share<lanes, queries>(source, op, share_of(seen, n_splits, blockIdx.y), q, progress);

  const Shared<float> meeting = dynamic_shared<float>();
  meet<lanes, queries>(op, runs, progress, meeting);
  block_barrier();
  const std::int64_t record = head_size + 2;
  const Global<float> partials(few.partials);
  for (std::int64_t i = threadIdx.x; i < queries * head_size; i += few_threads) {
    const std::int64_t j = i / head_size;
    const std::int64_t d = i % head_size;
    if (first_head + j >= end_head) continue;
    constexpr int n_groups = few_threads / lanes;
    float highest = no_score;
    for (int own = 0; own < n_groups; ++own) {
      highest = fmaxf(highest, meeting[(own * queries + j) * record + head_size]);
    }
    float sum = 0;
    float total = 0;
    for (int own = 0; own < n_groups; ++own) {
      const std::int64_t at = (own * queries + j) * record;
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
  const std::int64_t n_splits = splits_of(few, seen_by(few, row));
  const Global<const float> partials(few.partials + (row * op.n_heads + head) * few.n_splits * record);
  const Global<float> out(op.out.data + row * op.out.stride + head * op.head_size);
  float highest = no_score;
  for (std::int64_t split = 0; split < n_splits; ++split) {
    highest = fmaxf(highest, partials[split * record + op.head_size]);
  }
  for (std::int64_t d = threadIdx.x; d < op.head_size; d += blockDim.x) {
    float sum = 0;
    float total = 0;
    for (std::int64_t split = 0; split < n_splits; ++split) {
      const float factor = expf(partials[split * record + op.head_size] - highest);
      sum += partials[split * record + d] * factor;
      total += partials[split * record + op.head_size + 1] * factor;
    }
    out[d] = sum / total;
  }
}

template <class Source, int lanes, int queries>
cudaError_t launch_few(cudaStream_t stream, const Few& few) {
  const Attend& op = few.op;
  const std::int64_t parts = (op.n_heads / op.n_kv_heads + queries - 1) / queries;
  const Grid grid{static_cast<unsigned>(op.n_kv_heads * parts), static_cast<unsigned>(few.n_splits),
                  static_cast<unsigned>(op.q.rows)};
  const auto shared_bytes =
      static_cast<std::size_t>(few_threads / lanes * queries * (op.head_size + 2)) * sizeof(float);
  const cudaError_t shares = launch<attend_few_kernel<Source, lanes, queries>>(
      stream, "attend_few", grid, few_threads, shared_bytes, few);
  if (shares != cudaSuccess) return shares;
  const Grid heads{static_cast<unsigned>(op.n_heads), static_cast<unsigned>(op.q.rows), 1};
  return launch<join_shares_kernel>(stream, "join_shares", heads, few_threads, 0, few);
}

/// Query heads of a group share the loads of their keys, four at a time.
template <class Source, int lanes>
cudaError_t launch_lanes(cudaStream_t stream, const Few& few) {
  return few.op.n_heads == few.op.n_kv_heads ? launch_few<Source, lanes, 1>(stream, few)
                                             : launch_few<Source, lanes, 4>(stream, few);
}

template <class Source>
cudaError_t launch_source(cudaStream_t stream, const Few& few) {
  const int pieces = Source::pieces_of(static_cast<int>(few.op.head_size));
  if (pieces <= 4) return launch_lanes<Source, 4>(stream, few);
  if (pieces <= 8) return launch_lanes<Source, 8>(stream, few);
  if (pieces <= 16) return launch_lanes<Source, 16>(stream, few);
  return launch_lanes<Source, 32>(stream, few);
}

}  // namespace

cudaError_t attend_few(cudaStream_t stream, const Attend& op, const RowPlaces& places, std::int64_t n_splits,
                       float* partials) {
  if (op.q.rows == 0) return cudaSuccess;
  const Few few{op, places, n_splits, partials};
  if (op.paged.grouped.bits == 8) return launch_source<GroupedPieces<8>>(stream, few);
  if (op.paged.grouped.bits == 4) return launch_source<GroupedPieces<4>>(stream, few);
  return op.paged.element == Element::f32 ? launch_source<PlainPieces<float>>(stream, few)
                                          : launch_source<PlainPieces<Half>>(stream, few);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
