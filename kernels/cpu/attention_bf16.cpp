// Attention of many queries at once as attention_many.cpp does it, with products in BF16: queries, keys,
// values and the weights of positions are rounded, sums stay in FP32.
#include <math.h>
#include <string.h>

#include "kernels/cpu/attention_blocks.h"
#include "kernels/cpu/transpose_x86.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/weight_rows.h"

#if defined(GALAGO_AMX)
#include "kernels/cpu/bf16_amx.h"
#else
#include "kernels/cpu/bf16_avx512.h"
#endif

namespace galago::kernels::GALAGO_ISA {
namespace {

constexpr std::int64_t block_keys = max_block_keys;
constexpr std::int64_t block_vectors = block_keys / width;
constexpr std::int64_t key_pairs = block_keys / 2;
static_assert(block_keys % panel == 0);

std::int64_t padded(std::int64_t n) {
  return (n + panel - 1) / panel * panel;
}

/// The queries of one call on their way through the keys, and the block in work, in the caller's scratch.
/// What lies in pairs is in BF16. `wide` is the head's size in whole panels.
struct Work {
  std::int64_t n_queries, wide;
  std::uint16_t* rows;     // [block_keys][wide]: of keys or values as they come
  std::uint32_t* keys;     // [block_keys / panel][wide / 2][panel] of pairs
  std::uint32_t* values;   // [wide / panel][block_keys / 2][panel] of pairs
  std::uint16_t* queries;  // [n_queries][wide], scaled so that scores are powers of two
  std::uint16_t* weights;  // [n_queries][block_keys]
  float* scores;           // [block_keys / panel][n_queries][panel]
  float* sums;             // [wide / panel][n_queries][panel]: weighted values so far, not yet divided
  float* total;            // [n_queries][width]: sums of weights, lane by lane
  float* highest;          // [n_queries]: largest score so far
};

/// to [n] = from [n] in BF16.
template <class Type>
void round_row(const typename Type::Storage* from, std::int64_t n, float factor, std::uint16_t* to) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    const __m256bh rounded = _mm512_cvtneps_pbh(mul(Type::vector(from + i), set1(factor)).v);
    memcpy(to + i, &rounded, sizeof rounded);
  }
  if (i == n) return;
  float rest[width] = {};
  for (std::int64_t d = i; d < n; ++d) rest[d - i] = Type::scalar(from[d]) * factor;
  const __m256bh rounded = _mm512_cvtneps_pbh(load(rest).v);
  memcpy(to + i, &rounded, sizeof(std::uint16_t) * static_cast<std::size_t>(n - i));
}

Work begin(const Attention& op, float* scratch) {
  const std::int64_t n = op.n_rows * op.group;
  Work work{};
  work.n_queries = n;
  work.wide = padded(op.head_size);
  const auto take = [&scratch](std::int64_t floats) {
    float* taken = scratch;
    scratch += floats;
    return taken;
  };
  work.rows = reinterpret_cast<std::uint16_t*>(take(block_keys * work.wide / 2));
  work.keys = reinterpret_cast<std::uint32_t*>(take(block_keys * work.wide / 2));
  work.values = reinterpret_cast<std::uint32_t*>(take(block_keys * work.wide / 2));
  work.queries = reinterpret_cast<std::uint16_t*>(take(n * work.wide / 2));
  work.weights = reinterpret_cast<std::uint16_t*>(take(n * block_keys / 2));
  work.scores = take(n * block_keys);
  work.sums = take(n * work.wide);
  work.total = take(n * width);
  work.highest = take(n);
  memset(work.rows, 0, sizeof(std::uint16_t) * static_cast<std::size_t>(block_keys * work.wide));
  memset(work.queries, 0, sizeof(std::uint16_t) * static_cast<std::size_t>(n * work.wide));
  memset(work.sums, 0, sizeof(float) * static_cast<std::size_t>(n * work.wide));
  memset(work.total, 0, sizeof(float) * static_cast<std::size_t>(n * width));
  constexpr float log2_e = 1.44269504088896341F;
  for (std::int64_t i = 0; i < n; ++i) {
    round_row<F32>(query_at(op, i), op.head_size, op.scale * log2_e, work.queries + i * work.wide);
    work.highest[i] = -INFINITY;
  }
  return work;
}

struct Pairs {
  GALAGO_INLINE __m256i load(const std::uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
};

/// Keys as columns of pairs along the head.
void pack_keys(const Work& work) {
  const auto* rows = reinterpret_cast<const std::uint8_t*>(work.rows);
  for (std::int64_t t = 0; t < block_keys; t += transposed_rows) {
    std::uint32_t* to = work.keys + t / panel * (work.wide / 2) * panel + t % panel;
    for (std::int64_t d = 0; d < work.wide; d += 16) {
      transpose_quads<Pairs>(rows + (t * work.wide + d) * 2, work.wide * 2, transposed_rows,
                             reinterpret_cast<std::uint8_t*>(to + d / 2 * panel), panel * 4);
    }
  }
}

/// Values as rows of pairs of neighbouring positions.
void pack_values(const Work& work) {
  const auto half = [](const std::uint16_t* from) {
    return _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  };
  for (std::int64_t pair = 0; pair < key_pairs; ++pair) {
    const std::uint16_t* first = work.rows + 2 * pair * work.wide;
    for (std::int64_t d = 0; d < work.wide; d += width) {
      const __m512i both =
          _mm512_or_si512(half(first + d), _mm512_maskz_slli_epi32(0xffff, half(first + work.wide + d), 16));
      _mm512_storeu_si512(work.values + (d / panel * key_pairs + pair) * panel + d % panel, both);
    }
  }
}

/// Lays out the positions [position, position + count); what no position fills is 0.
void pack_block(const Attention& op, std::int64_t position, std::int64_t count, const Work& work) {
  const auto missing = sizeof(std::uint16_t) * static_cast<std::size_t>((block_keys - count) * work.wide);
  memset(work.rows + count * work.wide, 0, missing);
  for_positions(op, position, count, [&](auto type, const auto* key, const auto* /*value*/, std::int64_t t) {
    round_row<decltype(type)>(key, op.head_size, 1, work.rows + t * work.wide);
  });
  pack_keys(work);
  for_positions(op, position, count, [&](auto type, const auto* /*key*/, const auto* value, std::int64_t t) {
    round_row<decltype(type)>(value, op.head_size, 1, work.rows + t * work.wide);
  });
  pack_values(work);
}

void score_block(const Work& work) {
  for (std::int64_t first = 0; first < block_keys; first += panel) {
    multiply_rows(work.queries, work.wide, work.n_queries, work.keys + first * work.wide / 2, work.wide / 2,
                  true, work.scores + first * work.n_queries);
  }
}

/// The largest of 16 lanes. (gcc 12 warns of what _mm512_reduce_max_ps leaves undefined.)
GALAGO_INLINE float largest_of(__m512 a) {
  const __m256 low = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xff, _mm512_castps_pd(a), 0));
  const __m256 high = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xff, _mm512_castps_pd(a), 1));
  const __m256 eight = _mm256_max_ps(low, high);
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

/// 2^x for x <= 0, within 2^-18: BF16 holds less.
GALAGO_INLINE __m512 power_of_two(__m512 x) {
  constexpr int down = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
  const __m512 whole = _mm512_maskz_roundscale_ps(0xffff, x, down);
  const __m512 r = _mm512_sub_ps(x, whole);  // [0, 1)
  // Of the fourth degree, nearest to 2^r where exact at 0.
  __m512 p = _mm512_set1_ps(0.013426685F);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.052242474F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.241280205F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.693044845F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
  return _mm512_maskz_scalef_ps(0xffff, p, whole);
}

/// Which of the block's positions are seen, bit by bit.
std::uint64_t bits_of(const Seen& seen) {
  static_assert(block_keys == 64);
  const auto below = [](std::int64_t n) { return n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1; };
  return below(seen.sinks) | (below(seen.visible) & ~below(seen.hidden));
}

/// A query's sums so far, moved to a new highest score.
void scale_sums(const Work& work, std::int64_t query, float factor) {
  float* total = work.total + query * width;
  store(total, mul(load(total), set1(factor)));
  for (std::int64_t first = 0; first < work.wide; first += panel) {
    float* sums = work.sums + first * work.n_queries + query * panel;
    store(sums, mul(load(sums), set1(factor)));
    store(sums + width, mul(load(sums + width), set1(factor)));
  }
}

/// Turns a query's scores of what it sees of the block into weights; the others weigh nothing.
void weigh(const Work& work, std::int64_t query, std::uint64_t seen) {
  __m512 scores[block_vectors];
  __m512 largest = _mm512_set1_ps(work.highest[query]);
  for (std::int64_t i = 0; i < block_vectors; ++i) {
    const std::int64_t t = i * width;
    const float* from = work.scores + t / panel * panel * work.n_queries + query * panel + t % panel;
    const auto mask = static_cast<__mmask16>(seen >> t);
    scores[i] = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), mask, from);
    largest = _mm512_maskz_max_ps(0xffff, scores[i], largest);
  }
  const float highest = largest_of(largest);
  if (highest > work.highest[query]) {
    if (work.highest[query] > -INFINITY) scale_sums(work, query, exp2f(work.highest[query] - highest));
    work.highest[query] = highest;
  }
  Vec total = load(work.total + query * width);
  for (std::int64_t i = 0; i < block_vectors; ++i) {
    const auto mask = static_cast<__mmask16>(seen >> (i * width));
    const __m512 weight =
        _mm512_maskz_mov_ps(mask, power_of_two(_mm512_sub_ps(scores[i], _mm512_set1_ps(highest))));
    total = add(total, {weight});
    const __m256bh rounded = _mm512_cvtneps_pbh(weight);
    memcpy(work.weights + query * block_keys + i * width, &rounded, sizeof rounded);
  }
  store(work.total + query * width, total);
}

void weigh_block(const Attention& op, std::int64_t position, std::int64_t count, const Work& work) {
  for (std::int64_t i = 0; i < work.n_queries; ++i) {
    const Seen seen = seen_of(sight_of(op, i), position, count);
    if (seen.nothing()) {
      memset(work.weights + i * block_keys, 0, sizeof(std::uint16_t) * block_keys);
    } else {
      weigh(work, i, bits_of(seen));
    }
  }
}

void add_values(const Work& work) {
  for (std::int64_t first = 0; first < work.wide; first += panel) {
    multiply_rows(work.weights, block_keys, work.n_queries, work.values + first * key_pairs, key_pairs, false,
                  work.sums + first * work.n_queries);
  }
}

void finish(const Attention& op, const Work& work) {
  for (std::int64_t i = 0; i < work.n_queries; ++i) {
    float* out = out_at(op, i);
    const float scale = 1.0F / sum(load(work.total + i * width));
    for (std::int64_t d = 0; d < op.head_size; ++d) {
      out[d] = work.sums[(d / panel * work.n_queries + i) * panel + d % panel] * scale;
    }
  }
}

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
    score_block(work);
    weigh_block(op, position, count, work);
    add_values(work);
  }
  finish(op, work);
}

}  // namespace

void attention(const Attention& op, float* scratch) {
  if (op.bf16 && op.n_rows * op.group > few_queries) {
    attention_many(op, scratch);
  } else {
    GALAGO_BASE_ISA::attention(op, scratch);
  }
}

}  // namespace galago::kernels::GALAGO_ISA
