// Tokens are chosen from logits where they are computed: a block a row. Nothing is sorted: the border of what
// is kept, and what is drawn, are found by halving the range in which they lie.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/primitives.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

constexpr unsigned most_threads = 1024;
constexpr unsigned most_warps = most_threads / warp_lanes;

struct ChooseRows {
  Rows logits;
  ChoiceScratch scratch;
  int token_bits;  // that hold all columns
  Choice choices[choices_at_once];
};

/// How many tokens, and their weights' sum.
struct Tally {
  std::uint64_t weight, count;

  __device__ __forceinline__ Tally operator+(const Tally& other) const {
    return {weight + other.weight, count + other.count};
  }
};

struct Larger {
  __device__ __forceinline__ std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const {
    return a > b ? a : b;
  }
};
struct Sum {
  __device__ __forceinline__ std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const {
    return a + b;
  }
};

template <class Combine>
__device__ __forceinline__ std::uint64_t reduce_warp(std::uint64_t value, const Combine& combine) {
#pragma unroll
  for (unsigned step = warp_lanes / 2; step > 0; step /= 2) value = combine(value, shuffle_xor(value, step));
  return value;
}

/// The same for all threads of the block. `partials` has room for a value a warp.
template <class Combine>
__device__ __forceinline__ std::uint64_t reduce_block(std::uint64_t value, const Combine& combine,
                                                      const Shared<std::uint64_t>& partials) {
  value = reduce_warp(value, combine);
  block_barrier();  // those of before are read
  if (lane_index() == 0) partials[warp_index()] = value;
  block_barrier();
  const unsigned n_warps = blockDim.x / warp_lanes;
  // 0 is neutral to both.
  return reduce_warp(lane_index() < n_warps ? static_cast<std::uint64_t>(partials[lane_index()]) : 0,
                     combine);
}

/// One row's tokens, dealt out to the block's threads.
struct RowOfTokens {
  Global<const float> logits;
  Global<const std::uint32_t> said;
  Global<std::uint64_t> weights;
  Shared<std::uint64_t> partials;
  std::int64_t cols;
  float penalty;

  __device__ __forceinline__ std::uint64_t order(std::int64_t i) const {
    float logit = logits[i];
    if (penalty != 1 && (said[i / 32] >> (i % 32) & 1U) != 0) logit = penalised(logit, penalty);
    return order_of(logit, static_cast<std::uint32_t>(i));
  }

  /// The first token of those below `end`, as its order.
  __device__ __forceinline__ std::uint64_t first_below(std::uint64_t end) const {
    std::uint64_t first = 0;
    for (std::int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
      const std::uint64_t at = order(i);
      if (at < end && at > first) first = at;
    }
    return reduce_block(first, Larger(), partials);
  }

  __device__ __forceinline__ Tally reduce(const Tally& tally) const {
    const std::uint64_t weight = reduce_block(tally.weight, Sum(), partials);
    return {weight, reduce_block(tally.count, Sum(), partials)};
  }

  /// Each thread writes the weights that it reads.
  __device__ __forceinline__ Tally weigh(float largest, double scale) const {
    Tally tally{0, 0};
    for (std::int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
      const std::uint64_t weight = weight_of(logit_in(order(i)), largest, scale);
      weights[i] = weight;
      tally = tally + Tally{weight, 1};
    }
    return reduce(tally);
  }

  __device__ __forceinline__ Tally tally_from(std::uint64_t least) const {
    Tally tally{0, 0};
    for (std::int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
      if (order(i) >= least) tally = tally + Tally{weights[i], 1};
    }
    return reduce(tally);
  }

  __device__ __forceinline__ std::uint64_t sum_from_weight(std::uint64_t least) const {
    std::uint64_t sum = 0;
    for (std::int64_t i = threadIdx.x; i < cols; i += blockDim.x) {
      const std::uint64_t weight = weights[i];
      if (weight >= least) sum += weight;
    }
    return reduce_block(sum, Sum(), partials);
  }
};

/// A border among tokens in their order.
struct Border {
  std::uint64_t end;  // the token at the border is the first below this
  Tally tally;        // of all up to it
};

/// The first token at which `reaches` holds for the tally of all up to it; for all tokens, `all`, it does.
template <class Reaches>
__device__ __forceinline__ Border find_border(const RowOfTokens& row, int token_bits, const Tally& all,
                                              const Reaches& reaches) {
  std::uint64_t lower = 0;
  Tally from_lower = all;
  Border border{~std::uint64_t{0}, {0, 0}};
  for (int bit = 63; bit >= 0 && from_lower.count - border.tally.count > 1; --bit) {
    const std::uint64_t middle = lower | std::uint64_t{1} << bit;
    if (bit < 32 && bit >= token_bits) {
      lower = middle;  // as in every order
      continue;
    }
    const Tally tally = row.tally_from(middle);
    if (reaches(tally)) {
      lower = middle;
      from_lower = tally;
    } else {
      border = {middle, tally};
    }
  }
  return {border.end, from_lower};
}

struct ReachesCount {
  std::uint64_t least;
  __device__ __forceinline__ bool operator()(const Tally& tally) const { return tally.count >= least; }
};
struct ReachesWeight {
  std::uint64_t least;
  __device__ __forceinline__ bool operator()(const Tally& tally) const { return tally.weight >= least; }
};

/// The order of the drawn token; `largest` is the first one's.
__device__ __forceinline__ std::uint64_t draw(const RowOfTokens& row, const Choice& how, int token_bits,
                                              std::uint64_t largest) {
  const Tally all = row.weigh(logit_in(largest), how.scale);
  std::uint64_t sum = all.weight;
  if (how.top_k > 0 && how.top_k < row.cols) {
    const ReachesCount reaches{static_cast<std::uint64_t>(how.top_k)};
    sum = find_border(row, token_bits, all, reaches).tally.weight;
  }
  std::uint64_t kept = sum;
  if (how.top_p > 0) {
    kept = find_border(row, token_bits, all, ReachesWeight{nucleus_of(how.top_p, sum)}).tally.weight;
  }
  if (how.least_weight > 0) {
    const std::uint64_t likely = row.sum_from_weight(how.least_weight);
    if (likely < kept) kept = likely;
  }
  const Border drawn = find_border(row, token_bits, all, ReachesWeight{drawn_weight(how.random, kept)});
  return row.first_below(drawn.end);
}

__global__ void __launch_bounds__(most_threads, 1) choose_kernel(const ChooseRows op) {
  GALAGO_SHARED_ARRAY(std::uint64_t, partials, most_warps);
  const std::int64_t index = blockIdx.x;
  const Choice& how = op.choices[blockIdx.x];
  const std::int64_t cols = op.logits.cols;
  const RowOfTokens row{op.logits.data + index * op.logits.stride,
                        op.scratch.said + index * said_words(cols),
                        op.scratch.weights + index * cols,
                        partials,
                        cols,
                        how.penalty};
  std::uint64_t chosen = row.first_below(~std::uint64_t{0});
  if (how.scale > 0 && is_finite(logit_in(chosen))) chosen = draw(row, how, op.token_bits, chosen);
  if (threadIdx.x == 0) Global<std::int32_t>(op.scratch.tokens)[index] = token_in(chosen);
}

/// A thread for eight tokens.
unsigned threads_for(std::int64_t cols) {
  const std::int64_t warps = (cols + 8 * warp_lanes - 1) / (8 * warp_lanes);
  return static_cast<unsigned>(warps < most_warps ? warps : most_warps) * warp_lanes;
}

}  // namespace

cudaError_t choose(cudaStream_t stream, const Rows& logits, const Choice* choices,
                   const ChoiceScratch& scratch) {
  if (logits.rows == 0) return cudaSuccess;
  ChooseRows op{logits, scratch, 0, {}};
  while (logits.cols > std::int64_t{1} << op.token_bits) ++op.token_bits;
  for (std::int64_t i = 0; i < logits.rows; ++i) op.choices[i] = choices[i];
  return launch<choose_kernel>(stream, "choose", Grid{static_cast<unsigned>(logits.rows), 1, 1},
                               threads_for(logits.cols), 0, op);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
