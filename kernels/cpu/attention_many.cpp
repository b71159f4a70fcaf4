// Attention of many queries at once, online softmax (arXiv:2205.14135): each block of keys is transposed and
// its values are widened once for all queries, then both products run in register tiles as those of linear
// do.
#include <math.h>

#include "kernels/cpu/attention_blocks.h"
#include "kernels/cpu/element_types.h"
#include "kernels/cpu/panel.h"
#include "kernels/cpu/vector_math.h"

namespace galago::kernels::GALAGO_ISA {
namespace {

constexpr std::int64_t block_keys = max_block_keys;
static_assert(block_keys % panel == 0);

std::int64_t padded(std::int64_t n) {
  return (n + panel - 1) / panel * panel;
}

/// The queries of one call on their way through the keys, and the block in work, in the caller's scratch.
struct Work {
  std::int64_t n_queries;
  float* keys;     // [block_keys / panel][head_size][panel]
  float* values;   // [padded head_size / panel][block_keys][panel]
  float* queries;  // [n_queries][head_size], scaled
  float* weights;  // [n_queries][block_keys]
  float* scores;   // [n_queries][panel], of one panel of keys
  float* sums;     // [padded head_size / panel][n_queries][panel]: weighted values so far, not yet divided
  float* highest;  // [n_queries]: largest score so far
  float* total;    // [n_queries]: sum of e^(score - highest)
};

Work begin(const Attention& op, float* scratch) {
  const std::int64_t n = op.n_rows * op.group;
  const std::int64_t wide = padded(op.head_size);
  Work work{};
  const auto take = [&scratch](std::int64_t floats) {
    float* taken = scratch;
    scratch += floats;
    return taken;
  };
  work.n_queries = n;
  work.keys = take(block_keys * op.head_size);
  work.values = take(block_keys * wide);
  work.queries = take(n * op.head_size);
  work.weights = take(n * block_keys);
  work.scores = take(n * panel);
  work.sums = take(n * wide);
  work.highest = take(n);
  work.total = take(n);
  for (std::int64_t i = 0; i < n * wide; ++i) work.sums[i] = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const float* query = query_at(op, i);
    for (std::int64_t d = 0; d < op.head_size; ++d) work.queries[i * op.head_size + d] = query[d] * op.scale;
    work.highest[i] = -INFINITY;
    work.total[i] = 0;
  }
  return work;
}

/// Lays out key and value number `t` of the block.
template <class Type>
void pack_position(const typename Type::Storage* key, const typename Type::Storage* value, std::int64_t t,
                   std::int64_t head_size, const Work& work) {
  float* keys = work.keys + t / panel * head_size * panel + t % panel;
  float* values = work.values + t * panel;
  std::int64_t d = 0;
  for (; d + width <= head_size; d += width) {
    float lanes[width];
    store(lanes, Type::vector(key + d));
    for (int lane = 0; lane < width; ++lane) keys[(d + lane) * panel] = lanes[lane];
    store(values + d / panel * block_keys * panel + d % panel, Type::vector(value + d));
  }
  for (; d < head_size; ++d) {
    keys[d * panel] = Type::scalar(key[d]);
    values[d / panel * block_keys * panel + d % panel] = Type::scalar(value[d]);
  }
  for (; d < padded(head_size); ++d) values[d / panel * block_keys * panel + d % panel] = 0;
}

/// Lays out positions [position, position + count).
void pack_block(const Attention& op, std::int64_t position, std::int64_t count, const Work& work) {
  for_positions(op, position, count, [&](auto type, const auto* key, const auto* value, std::int64_t t) {
    pack_position<decltype(type)>(key, value, t, op.head_size, work);
  });
  // What no position fills is multiplied too, and left out afterwards.
  for (std::int64_t t = count; t < padded(count); ++t) {
    float* keys = work.keys + t / panel * op.head_size * panel + t % panel;
    for (std::int64_t d = 0; d < op.head_size; ++d) keys[d * panel] = 0;
  }
}

/// weights [n_queries][block_keys] = queries keys^T
void score_block(const Attention& op, std::int64_t count, const Work& work) {
  for (std::int64_t first = 0; first < count; first += panel) {
    for (std::int64_t i = 0; i < work.n_queries * panel; ++i) work.scores[i] = 0;
    multiply_panel(work.queries, op.head_size, work.n_queries, work.keys + first * op.head_size, op.head_size,
                   work.scores);
    for (std::int64_t i = 0; i < work.n_queries; ++i) {
      float* to = work.weights + i * block_keys + first;
      store(to, load(work.scores + i * panel));
      store(to + width, load(work.scores + i * panel + width));
    }
  }
}

/// `to` [block_keys], for the places below `end` that are not seen.
void hide(float* weights, const Seen& seen, std::int64_t end, float to) {
  for (std::int64_t t = seen.sinks; t < seen.hidden; ++t) weights[t] = to;
  for (std::int64_t t = seen.visible; t < end; ++t) weights[t] = to;
}

/// Turns a query's scores of what it sees of the block into weights in place; the others up to `end`, a whole
/// number of vectors, weigh nothing. Returns the factor that moves its sums to the new highest score.
float weigh(const Work& work, std::int64_t query, const Seen& seen, std::int64_t end) {
  float* weights = work.weights + query * block_keys;
  hide(weights, seen, end, -INFINITY);
  Vec largest = set1(work.highest[query]);
  for (std::int64_t t = 0; t < end; t += width) largest = max(load(weights + t), largest);
  float lanes[width];
  store(lanes, largest);
  float highest = lanes[0];
  for (const float lane : lanes) highest = lane > highest ? lane : highest;

  for (std::int64_t t = 0; t < end; t += width) {
    store(weights + t, exp(sub(load(weights + t), set1(highest))));
  }
  hide(weights, seen, end, 0);
  Vec total = set1(0);
  for (std::int64_t t = 0; t < end; t += width) total = add(total, load(weights + t));
  const float before = work.highest[query];
  const float factor = before > -INFINITY ? expf(before - highest) : 0;
  work.total[query] = work.total[query] * factor + sum(total);
  work.highest[query] = highest;
  return factor;
}

void scale_sums(const Work& work, std::int64_t query, std::int64_t wide, float factor) {
  if (factor == 1) return;
  for (std::int64_t first = 0; first < wide; first += panel) {
    float* sums = work.sums + first * work.n_queries + query * panel;
    store(sums, mul(load(sums), set1(factor)));
    store(sums + width, mul(load(sums + width), set1(factor)));
  }
}

/// Scores to weights for the block of `count` positions from `position` on.
void weigh_block(const Attention& op, std::int64_t position, std::int64_t count, const Work& work) {
  const std::int64_t end = (count + width - 1) / width * width;
  for (std::int64_t i = 0; i < work.n_queries; ++i) {
    const Seen seen = seen_of(sight_of(op, i), position, count);
    if (seen.nothing()) {
      for (std::int64_t t = 0; t < end; ++t) work.weights[i * block_keys + t] = 0;
    } else {
      scale_sums(work, i, padded(op.head_size), weigh(work, i, seen, end));
    }
  }
}

void finish(const Attention& op, const Work& work) {
  for (std::int64_t i = 0; i < work.n_queries; ++i) {
    float* out = out_at(op, i);
    const float scale = 1.0F / work.total[i];
    for (std::int64_t d = 0; d < op.head_size; ++d) {
      out[d] = work.sums[(d / panel * work.n_queries + i) * panel + d % panel] * scale;
    }
  }
}

}  // namespace

void attention_many(const Attention& op, float* scratch) {
  const Work work = begin(op, scratch);
  // Later rows see as far or further, and their windows begin as late or later.
  const Sight first_sight = sight_of(op, 0);
  const std::int64_t end = sight_of(op, work.n_queries - 1).to;
  std::int64_t count = 0;
  for (std::int64_t position = next_seen(first_sight, 0); position < end;
       position = next_seen(first_sight, position + count)) {
    const std::int64_t run_end = position < first_sight.sinks ? first_sight.sinks : end;
    count = run_end - position < block_keys ? run_end - position : block_keys;
    pack_block(op, position, count, work);
    score_block(op, count, work);
    weigh_block(op, position, count, work);
    for (std::int64_t first = 0; first < op.head_size; first += panel) {
      multiply_panel(work.weights, block_keys, work.n_queries, work.values + first * block_keys, count,
                     work.sums + first * work.n_queries);
    }
  }
  finish(op, work);
}

}  // namespace galago::kernels::GALAGO_ISA
