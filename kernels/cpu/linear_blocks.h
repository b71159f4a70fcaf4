// The loops around a product's panels and dot products, for any kind of weight rows.
//
// A few rows: dot products along the weights' rows, which are read once, at the memory's speed. More rows:
// panels of 2 * width weight rows are widened and transposed into scratch, and micro_rows x (2 * width)
// results are kept in registers (Goto and van de Geijn, 2008).
//
// `Rows` says what the weights are:
//     pack(weights, row, n_rows, first, depth, to): to [depth][panel] = the transposed rows [row, row +
//     n_rows)
//         of the weights, columns [first, first + depth), first a multiple of depth_block; missing rows are 0
//     dot(weights, x, row, n_rows, sums): sums [n_rows] of x with these rows
#pragma once

#include "kernels/cpu/vector_math.h"

namespace galago::kernels::GALAGO_ISA {

inline constexpr std::int64_t depth_block = 512;  // of k: a panel stays in the first-level cache
inline constexpr std::int64_t row_block = 512;    // of m: sums of a panel stay in the second-level cache
inline constexpr std::int64_t panel = 2 * width;
inline constexpr std::int64_t few_rows = 3;
static_assert(depth_block * panel + 2 * row_block * panel <= linear_scratch_floats);

/// sums [rows][panel] += x [rows, depth] * packed [depth][panel]
template <int rows>
void multiply_tile(const float* x, std::int64_t x_stride, const float* packed, std::int64_t depth,
                   float* sums) {
  Vec left[rows];
  Vec right[rows];
  for (int i = 0; i < rows; ++i) {
    left[i] = load(sums + i * panel);
    right[i] = load(sums + i * panel + width);
  }
  for (std::int64_t d = 0; d < depth; ++d) {
    const Vec w0 = load(packed + d * panel);
    const Vec w1 = load(packed + d * panel + width);
    for (int i = 0; i < rows; ++i) {
      const Vec value = set1(x[i * x_stride + d]);
      left[i] = fma(value, w0, left[i]);
      right[i] = fma(value, w1, right[i]);
    }
  }
  for (int i = 0; i < rows; ++i) {
    store(sums + i * panel, left[i]);
    store(sums + i * panel + width, right[i]);
  }
}

GALAGO_INLINE void multiply_panel(const float* x, std::int64_t x_stride, std::int64_t n_rows,
                                  const float* packed, std::int64_t depth, float* sums) {
  std::int64_t i = 0;
  for (; i + micro_rows <= n_rows; i += micro_rows) {
    multiply_tile<micro_rows>(x + i * x_stride, x_stride, packed, depth, sums + i * panel);
  }
  for (; i + 2 <= n_rows; i += 2)
    multiply_tile<2>(x + i * x_stride, x_stride, packed, depth, sums + i * panel);
  if (i < n_rows) multiply_tile<1>(x + i * x_stride, x_stride, packed, depth, sums + i * panel);
}

/// sums [rows][panel] of all of k for one panel of weight rows.
template <class Rows>
void sum_panel(const Linear& op, const Rows& rows, const void* weights, std::int64_t row, std::int64_t n_rows,
               std::int64_t column, float* packed, float* sums) {
  const std::int64_t n_columns = op.n - column < panel ? op.n - column : panel;
  for (std::int64_t i = 0; i < n_rows * panel; ++i) sums[i] = 0;
  for (std::int64_t first = 0; first < op.k; first += depth_block) {
    const std::int64_t depth = op.k - first < depth_block ? op.k - first : depth_block;
    rows.pack(weights, column, n_columns, first, depth, packed);
    multiply_panel(op.x + row * op.x_stride + first, op.x_stride, n_rows, packed, depth, sums);
  }
}

/// Finishes one row of a panel's sums: bias, activation, gate, residual. `up` is null unless gated.
GALAGO_INLINE void finish_row(const Linear& op, std::int64_t row, std::int64_t column, std::int64_t n_columns,
                              float* sums, const float* up) {
  for (std::int64_t j = 0; j < n_columns && op.bias != nullptr; ++j) sums[j] += op.bias[column + j];
  if (op.activation != Activation::none) {
    store(sums, activate(load(sums), op.activation));
    store(sums + width, activate(load(sums + width), op.activation));
  }
  for (std::int64_t j = 0; j < n_columns && up != nullptr; ++j) sums[j] *= up[j];
  float* y = op.y + row * op.y_stride + column;
  if (op.residual == nullptr) {
    for (std::int64_t j = 0; j < n_columns; ++j) y[j] = sums[j];
    return;
  }
  const float* residual = op.residual + row * op.residual_stride + column;
  for (std::int64_t j = 0; j < n_columns; ++j) y[j] = sums[j] + residual[j];
}

template <class Rows>
void many_rows(const Linear& op, const Rows& rows, std::int64_t first_column, std::int64_t end_column,
               float* scratch) {
  if (scratch == nullptr) __builtin_unreachable();  // the caller's contract, which analysers cannot see
  float* packed = scratch;
  float* sums = packed + depth_block * panel;
  float* up_sums = sums + row_block * panel;
  for (std::int64_t row = 0; row < op.m; row += row_block) {
    const std::int64_t n_rows = op.m - row < row_block ? op.m - row : row_block;
    for (std::int64_t column = first_column; column < end_column; column += panel) {
      const std::int64_t n_columns = end_column - column < panel ? end_column - column : panel;
      sum_panel(op, rows, op.w, row, n_rows, column, packed, sums);
      if (op.up != nullptr) sum_panel(op, rows, op.up, row, n_rows, column, packed, up_sums);
      for (std::int64_t i = 0; i < n_rows; ++i) {
        finish_row(op, row + i, column, n_columns, sums + i * panel,
                   op.up != nullptr ? up_sums + i * panel : nullptr);
      }
    }
  }
}

template <class Rows>
void some_rows(const Linear& op, const Rows& rows, std::int64_t first_column, std::int64_t end_column) {
  for (std::int64_t column = first_column; column < end_column; column += panel) {
    const std::int64_t n_columns = end_column - column < panel ? end_column - column : panel;
    for (std::int64_t row = 0; row < op.m; ++row) {
      const float* x = op.x + row * op.x_stride;
      float sums[panel] = {};
      float up[panel] = {};
      rows.dot(op.w, x, column, n_columns, sums);
      if (op.up != nullptr) rows.dot(op.up, x, column, n_columns, up);
      finish_row(op, row, column, n_columns, sums, op.up != nullptr ? up : nullptr);
    }
  }
}

template <class Rows>
void multiply(const Linear& op, const Rows& rows, std::int64_t first_column, std::int64_t n_columns,
              float* scratch) {
  if (op.m <= few_rows) {
    some_rows(op, rows, first_column, first_column + n_columns);
  } else {
    many_rows(op, rows, first_column, first_column + n_columns, scratch);
  }
}

}  // namespace galago::kernels::GALAGO_ISA
