// Weights times x in BF16, summed in FP32. Weights of other types are rounded to BF16 when their turn comes.
//
// The roles are those of y^T = w x^T: x, which all weights meet, is laid out once in panels of 32 of its
// rows, and weight rows are read as they lie. So what is done to each weight is only its rounding.
#include <string.h>

#include "kernels/cpu/finish_row.h"
#include "kernels/cpu/grouped_reader.h"
#include "kernels/cpu/transpose_x86.h"

#if defined(GALAGO_AMX)
#include "kernels/cpu/bf16_amx.h"
#else
#include "kernels/cpu/bf16_avx512.h"
#endif

namespace galago::kernels::GALAGO_ISA {
namespace {

constexpr std::int64_t row_block = bf16_rows_at_once;  // of m: sums stay in the second-level cache
constexpr std::int64_t weight_block = 256;  // weight rows that meet a panel of x while it is in a cache
constexpr std::int64_t bf16_depth = 256;    // of k: a panel of x stays in the first-level cache
/// From weight row to weight row: not a power of two, so that rows do not share the sets of a cache.
constexpr std::int64_t weight_stride = bf16_depth + 32;

/// What a thread works with, in the caller's scratch.
struct Work {
  std::uint16_t* weights;  // [weight_block][weight_stride]
  float* sums;             // [row_block / panel][weight_block][panel]
  float* turned;           // [panel][weight_block]

  explicit Work(float* scratch)
      : weights(reinterpret_cast<std::uint16_t*>(scratch)),
        sums(scratch + weight_block * weight_stride / 2),
        turned(sums + row_block * weight_block) {
    static_assert(weight_block * (weight_stride / 2 + row_block + panel) <= bf16_scratch_floats);
    static_assert(row_block % panel == 0);
  }
};

/// to [n] = from [n] in BF16, up to whole vectors, which both have room for.
void round_row(const float* from, std::int64_t n, std::uint16_t* to) {
  for (std::int64_t i = 0; i < n; i += width) {
    const __m256bh rounded = _mm512_cvtneps_pbh(load(from + i).v);
    memcpy(to + i, &rounded, sizeof rounded);
  }
}

/// to = columns [first, first + depth) of a weight row in BF16, up to whole chunks.
using RoundWeights = void (*)(const Linear& op, const std::uint8_t* row, std::int64_t first,
                              std::int64_t depth, std::uint16_t* to);

template <class Quants, GroupOffset offset, int parts>
void round_grouped(const Linear& op, const std::uint8_t* row, std::int64_t first, std::int64_t depth,
                   std::uint16_t* to) {
  const GroupedReader<Quants, offset, parts> reader(*op.grouped, op.k);
  static_assert(chunk_vectors == 2);
  for (std::int64_t d = 0; d < depth; d += chunk) {
    Vec values[chunk_vectors];
    reader.read_chunk(row, (first + d) / chunk, values);
    const __m512bh rounded = _mm512_cvtne2ps_pbh(values[1].v, values[0].v);
    memcpy(to + d, &rounded, sizeof rounded);
  }
}

void round_f16(const Linear& /*op*/, const std::uint8_t* row, std::int64_t first, std::int64_t depth,
               std::uint16_t* to) {
  const std::uint16_t* from = reinterpret_cast<const std::uint16_t*>(row) + first;
  std::int64_t i = 0;
  for (; i + width <= depth; i += width) {
    const __m256bh rounded = _mm512_cvtneps_pbh(load_f16(from + i).v);
    memcpy(to + i, &rounded, sizeof rounded);
  }
  if (i == depth) return;
  std::uint16_t rest[width] = {};
  memcpy(rest, from + i, static_cast<std::size_t>(depth - i) * 2);
  const __m256bh rounded = _mm512_cvtneps_pbh(load_f16(rest).v);
  memcpy(to + i, &rounded, sizeof rounded);
}

void copy_bf16(const Linear& /*op*/, const std::uint8_t* row, std::int64_t first, std::int64_t depth,
               std::uint16_t* to) {
  memcpy(to, row + first * 2, static_cast<std::size_t>(depth) * 2);
}

RoundWeights rounding_of(const Linear& op) {
  if (op.grouped == nullptr) return op.element == Element::f16 ? round_f16 : copy_bf16;
  return with_format(*op.grouped, []<class Quants, GroupOffset offset, int parts>() -> RoundWeights {
    return round_grouped<Quants, offset, parts>;
  });
}

/// sums [panel of x][n_weights][panel] of the weight rows [column, column + n_weights) times n_panels panels
/// of x from `row` on
void sum_block(const Linear& op, const void* weights, std::int64_t column, std::int64_t n_weights,
               std::int64_t row, std::int64_t n_panels, const Work& work, float* sums) {
  const RoundWeights round_weights = rounding_of(op);
  const std::int64_t row_bytes = op.grouped != nullptr ? op.grouped->row_bytes : 2 * op.k;
  const std::uint8_t* from = static_cast<const std::uint8_t*>(weights) + column * row_bytes;
  for (std::int64_t first = 0; first < op.k; first += bf16_depth) {
    const std::int64_t depth = op.k - first < bf16_depth ? op.k - first : bf16_depth;
    for (std::int64_t j = 0; j < n_weights; ++j) {
      std::uint16_t* const to = work.weights + j * weight_stride;
      round_weights(op, from + j * row_bytes, first, depth, to);
      if (depth % 2 != 0) to[depth] = 0;
    }
    for (std::int64_t i = 0; i < n_panels; ++i) {
      const std::uint32_t* x = op.bf16->pairs + ((row / panel + i) * op.bf16->n_pairs + first / 2) * panel;
      multiply_rows(work.weights, weight_stride, n_weights, x, (depth + 1) / 2, first == 0,
                    sums + i * n_weights * panel);
    }
  }
}

struct Floats {
  GALAGO_INLINE __m256i load(const std::uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
};

/// to [panel][weight_block] = sums [n][panel], n <= weight_block, up to whole eights of n
void turn(const float* sums, std::int64_t n, float* to) {
  for (std::int64_t j = 0; j < n; j += transposed_rows) {
    const std::int64_t left = n - j < transposed_rows ? n - j : transposed_rows;
    for (std::int64_t i = 0; i < panel; i += transposed_rows) {
      transpose_quads<Floats>(reinterpret_cast<const std::uint8_t*>(sums + j * panel + i), panel * 4, left,
                              reinterpret_cast<std::uint8_t*>(to + i * weight_block + j), weight_block * 4);
    }
  }
}

/// Finishes the rows of y that a panel of x makes, from sums [n][panel]; `up_sums` is null unless gated.
void finish_panel(const Linear& op, std::int64_t row, std::int64_t column, std::int64_t n, const float* sums,
                  const float* up_sums, const Work& work) {
  // The two halves of a gated product share the room of one.
  float* const up = up_sums != nullptr ? work.turned + weight_block / 2 : nullptr;
  turn(sums, n, work.turned);
  if (up_sums != nullptr) turn(up_sums, n, up);
  const std::int64_t n_rows = op.m - row < panel ? op.m - row : panel;
  for (std::int64_t i = 0; i < n_rows; ++i) {
    finish_row(op, row + i, column, n, work.turned + i * weight_block,
               up != nullptr ? up + i * weight_block : nullptr);
  }
}

}  // namespace

void linear_bf16(const Linear& op, std::int64_t first_column, std::int64_t end_column, float* scratch) {
  const Work work(scratch);
  const bool gated = op.up != nullptr;
  const std::int64_t most = gated ? weight_block / 2 : weight_block;
  for (std::int64_t row = 0; row < op.m; row += row_block) {
    const std::int64_t n_rows = op.m - row < row_block ? op.m - row : row_block;
    const std::int64_t n_panels = (n_rows + panel - 1) / panel;
    for (std::int64_t column = first_column; column < end_column; column += most) {
      const std::int64_t n = end_column - column < most ? end_column - column : most;
      float* const up_sums = gated ? work.sums + n_panels * n * panel : nullptr;
      sum_block(op, op.w, column, n, row, n_panels, work, work.sums);
      if (gated) sum_block(op, op.up, column, n, row, n_panels, work, up_sums);
      for (std::int64_t i = 0; i < n_panels; ++i) {
        finish_panel(op, row + i * panel, column, n, work.sums + i * n * panel,
                     gated ? up_sums + i * n * panel : nullptr, work);
      }
    }
  }
}

void round_to_bf16(const float* x, std::int64_t x_stride, std::int64_t m, std::int64_t k, const Bf16Rows& to,
                   std::int64_t first_panel, std::int64_t n_panels) {
  constexpr std::int64_t at_once = 16;  // of k: what is transposed
  for (std::int64_t p = first_panel; p < first_panel + n_panels; ++p) {
    std::uint32_t* const pairs = to.pairs + p * to.n_pairs * panel;
    for (std::int64_t j = 0; j < panel; j += transposed_rows) {
      const std::int64_t row = p * panel + j;
      const std::int64_t left = m - row < transposed_rows ? m - row : transposed_rows;
      for (std::int64_t d = 0; d < 2 * to.n_pairs; d += at_once) {
        float wide[at_once];
        std::uint16_t rounded[transposed_rows * at_once] = {};
        for (std::int64_t i = 0; i < left; ++i) {
          const float* from = x + (row + i) * x_stride + d;
          if (d + at_once <= k) {
            round_row(from, at_once, rounded + i * at_once);
          } else {
            for (std::int64_t e = 0; e < at_once; ++e) wide[e] = d + e < k ? from[e] : 0;
            round_row(wide, at_once, rounded + i * at_once);
          }
        }
        transpose_quads<Floats>(reinterpret_cast<const std::uint8_t*>(rounded), at_once * 2, transposed_rows,
                                reinterpret_cast<std::uint8_t*>(pairs + d / 2 * panel + j), panel * 4);
      }
    }
  }
}

}  // namespace galago::kernels::GALAGO_ISA
