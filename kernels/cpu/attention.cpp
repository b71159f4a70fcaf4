// Attention with an online softmax (arXiv:2205.14135), no score matrix. A few queries, as in decoding: four
// at a time over blocks of keys that are read where they lie.
#include <math.h>

#include "kernels/cpu/attention_blocks.h"
#include "kernels/cpu/element_types.h"
#include "kernels/cpu/vector_math.h"

namespace galago::kernels::GALAGO_ISA {

void attention_many(const Attention& op, float* scratch);

namespace {

constexpr int n_queries = 4;

/// Four queries on their way through the keys. Rows are padded to whole vectors with zeros.
struct Queries {
  alignas(64) float q[n_queries][max_head_size];
  alignas(
      64) float out[n_queries][max_head_size];  // weighted sum of values so far, not yet divided by `total`
  alignas(64) float scores[n_queries][max_block_keys];
  float highest[n_queries];  // largest score so far
  float total[n_queries];    // sum of e^(score - highest)
  Sight sights[n_queries];   // nothing for a place that is not taken
};

/// scores [n_queries][count] = q keys^T
template <class Type>
void score_block(Queries& queries, const KeyValues& block, std::int64_t head_size) {
  const auto* keys = static_cast<const typename Type::Storage*>(block.keys);
  for (std::int64_t t = 0; t < block.count; ++t) {
    const typename Type::Storage* key = keys + t * block.stride;
    Vec sums[n_queries];
    for (Vec& s : sums) s = set1(0);
    std::int64_t d = 0;
    for (; d + width <= head_size; d += width) {
      const Vec k = Type::vector(key + d);
      for (int i = 0; i < n_queries; ++i) sums[i] = fma(load(queries.q[i] + d), k, sums[i]);
    }
    float tails[n_queries] = {};
    for (; d < head_size; ++d) {
      for (int i = 0; i < n_queries; ++i) tails[i] += queries.q[i][d] * Type::scalar(key[d]);
    }
    for (int i = 0; i < n_queries; ++i) queries.scores[i][t] = sum(sums[i]) + tails[i];
  }
}

/// Turns one query's scores of what it sees of a block into weights, and moves its sums to the new highest
/// score. Returns the factor of the move.
float weigh_scores(Queries& queries, int i, const Seen& seen, std::int64_t count) {
  float* scores = queries.scores[i];
  float highest = queries.highest[i];
  for (std::int64_t t = 0; t < seen.sinks; ++t) highest = scores[t] > highest ? scores[t] : highest;
  for (std::int64_t t = seen.hidden; t < seen.visible; ++t)
    highest = scores[t] > highest ? scores[t] : highest;
  for (std::int64_t t = seen.sinks; t < seen.hidden; ++t) scores[t] = highest;
  for (std::int64_t t = seen.visible; t < max_block_keys; ++t) scores[t] = highest;
  Vec total = set1(0);
  for (std::int64_t t = 0; t < count; t += width) {
    // Positions that the query does not see weigh nothing.
    float masked[width];
    store(masked, exp(sub(load(scores + t), set1(highest))));
    for (int lane = 0; lane < width; ++lane) {
      const std::int64_t at = t + lane;
      masked[lane] = at < seen.sinks || (at >= seen.hidden && at < seen.visible) ? masked[lane] : 0;
    }
    total = add(total, load(masked));
    store(scores + t, load(masked));
  }
  const float factor = queries.highest[i] > -INFINITY ? expf(queries.highest[i] - highest) : 0;
  queries.total[i] = queries.total[i] * factor + sum(total);
  queries.highest[i] = highest;
  return factor;
}

/// out = out * factor + weights values
template <class Type>
void add_values(Queries& queries, const KeyValues& block, std::int64_t head_size, const float* factors) {
  const auto* values = static_cast<const typename Type::Storage*>(block.values);
  std::int64_t d = 0;
  for (; d + width <= head_size; d += width) {
    Vec sums[n_queries];
    for (int i = 0; i < n_queries; ++i) sums[i] = mul(load(queries.out[i] + d), set1(factors[i]));
    for (std::int64_t t = 0; t < block.count; ++t) {
      const Vec value = Type::vector(values + t * block.stride + d);
      for (int i = 0; i < n_queries; ++i) sums[i] = fma(set1(queries.scores[i][t]), value, sums[i]);
    }
    for (int i = 0; i < n_queries; ++i) store(queries.out[i] + d, sums[i]);
  }
  for (; d < head_size; ++d) {
    for (int i = 0; i < n_queries; ++i) {
      float total = queries.out[i][d] * factors[i];
      for (std::int64_t t = 0; t < block.count; ++t) {
        total += queries.scores[i][t] * Type::scalar(values[t * block.stride + d]);
      }
      queries.out[i][d] = total;
    }
  }
}

template <class Type>
void attend_block(Queries& queries, const KeyValues& block, std::int64_t position, std::int64_t head_size) {
  score_block<Type>(queries, block, head_size);
  float factors[n_queries];
  for (int i = 0; i < n_queries; ++i) {
    const Seen seen = seen_of(queries.sights[i], position, block.count);
    if (seen.nothing()) {
      for (float& score : queries.scores[i]) score = 0;
      factors[i] = 1;
    } else {
      factors[i] = weigh_scores(queries, i, seen, block.count);
    }
  }
  add_values<Type>(queries, block, head_size, factors);
}

/// The same positions in FP32, in scratch.
KeyValues decode_block(const KeyValues& block, std::int64_t head_size, float* scratch) {
  float* keys = scratch;
  float* values = scratch + max_block_keys * head_size;
  for (std::int64_t t = 0; t < block.count; ++t) {
    const std::int64_t at = t * block.grouped->row_bytes;
    decode(*block.grouped, static_cast<const char*>(block.keys) + at, keys + t * head_size, head_size);
    decode(*block.grouped, static_cast<const char*>(block.values) + at, values + t * head_size, head_size);
  }
  return {keys, values, head_size, Element::f32, block.count};
}

void begin(Queries& queries, const Attention& op, std::int64_t first, std::int64_t count) {
  for (int i = 0; i < n_queries; ++i) {
    const bool taken = i < count;
    const float* q = taken ? query_at(op, first + i) : nullptr;
    for (std::int64_t d = 0; d < op.head_size; ++d) {
      queries.q[i][d] = taken ? q[d] * op.scale : 0;
      queries.out[i][d] = 0;
    }
    queries.highest[i] = -INFINITY;
    queries.total[i] = 0;
    queries.sights[i] = taken ? sight_of(op, first + i) : Sight{};
  }
}

void finish(const Queries& queries, const Attention& op, std::int64_t first, std::int64_t count) {
  for (int i = 0; i < count; ++i) {
    float* out = out_at(op, first + i);
    const float scale = 1.0F / queries.total[i];
    for (std::int64_t d = 0; d < op.head_size; ++d) out[d] = queries.out[i][d] * scale;
  }
}

}  // namespace

void attention(const Attention& op, float* scratch) {
  const std::int64_t total = op.n_rows * op.group;
  if (total > few_queries) return attention_many(op, scratch);
  Queries queries;
  for (std::int64_t first = 0; first < total; first += n_queries) {
    const std::int64_t count = total - first < n_queries ? total - first : n_queries;
    begin(queries, op, first, count);
    const std::int64_t end = queries.sights[count - 1].to;
    // Blocks between the sinks and every query's window are not read. The first query's begins first.
    const auto next_block = [&](std::int64_t position) {
      return next_seen(queries.sights[0], position) / op.blocks.count * op.blocks.count;
    };
    for (std::int64_t position = next_block(0); position < end;
         position = next_block(position + op.blocks.count)) {
      KeyValues block = block_at(op, position, end - position);
      if (block.grouped != nullptr) block = decode_block(block, op.head_size, scratch);
      if (block.element == Element::f32) {
        attend_block<F32>(queries, block, position, op.head_size);
      } else {
        attend_block<F16>(queries, block, position, op.head_size);
      }
    }
    finish(queries, op, first, count);
  }
}

}  // namespace galago::kernels::GALAGO_ISA
