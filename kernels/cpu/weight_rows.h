// How a product reads the rows of a weight matrix, whatever they are stored as: the loops of linear.cpp are
// compiled once, each storage format adds its two functions.
#pragma once

#include "kernels/cpu/simd.h"

namespace galago::kernels {

/// Rows of x times a panel of weight rows (the columns of y), for a block of k.
struct PanelPart {
  std::int64_t row, n_rows;
  std::int64_t column, n_columns;  // n_columns is panel or, at the edge, less
  std::int64_t first, depth;       // of k; first is a multiple of depth_block
};

struct WeightRows {
  /// sums [n_rows][panel] += this part of x w^T. `packed`: depth_block * panel floats of scratch.
  void (*multiply)(const Linear& op, const void* weights, const PanelPart& part, float* packed, float* sums);
  /// sums [n_columns] = row `row` of x times the weight rows [column, column + n_columns), all of k
  void (*dot)(const Linear& op, const void* weights, std::int64_t row, std::int64_t column,
              std::int64_t n_columns, float* sums);
};

}  // namespace galago::kernels

// With x in FP32, a set computes as the one that it extends does (GALAGO_BASE_ISA).
#if defined(GALAGO_BASE_ISA)
namespace galago::kernels::GALAGO_BASE_ISA {
WeightRows plain_rows(Element element);
WeightRows grouped_rows(const GroupedRows& format);
}  // namespace galago::kernels::GALAGO_BASE_ISA
#endif

namespace galago::kernels::GALAGO_ISA {

/// Of k: a panel stays in the first-level cache.
inline constexpr std::int64_t depth_block = width > 8 ? 256 : 512;
inline constexpr std::int64_t panel = 2 * width;

#if defined(GALAGO_BASE_ISA)
using GALAGO_BASE_ISA::grouped_rows;
using GALAGO_BASE_ISA::plain_rows;
#else
WeightRows plain_rows(Element element);
WeightRows grouped_rows(const GroupedRows& format);
#endif
/// Grouped weights with x in int8.
WeightRows int8_rows(const GroupedRows& format);
/// The columns [first_column, end_column) of a product with x in BF16.
void linear_bf16(const Linear& op, std::int64_t first_column, std::int64_t end_column, float* scratch);

/// Brings the lines of [p, p + bytes) near. Rows that are read side by side are too many streams for what
/// processors notice by themselves.
template <int bytes>
GALAGO_INLINE void prefetch(const void* p) {
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(p) + i);
}

/// Brings lines near that lie some way behind [p, p + bytes): weight rows follow each other in memory, and
/// what processors fetch by themselves ends with each page.
template <int bytes>
GALAGO_INLINE void fetch_behind(const void* p) {
  constexpr int distance = 2048;  // what arrives from memory while so much is computed
  prefetch<bytes>(static_cast<const char*>(p) + distance);
}

/// sums [n_rows][panel] += x times the packed [depth][panel] transposed weight rows, in FP32.
void multiply_panel(const Linear& op, const PanelPart& part, const float* packed, float* sums);

}  // namespace galago::kernels::GALAGO_ISA
