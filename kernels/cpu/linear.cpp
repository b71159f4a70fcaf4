// y = activation(x w^T + bias) + residual and the gated form, summed in FP32, for weights in any storage.
//
// A few rows: dot products along the weights' rows, which are read once, at the memory's speed. More rows:
// panels of weight rows are widened and transposed into scratch, and micro_rows x panel results are kept in
// registers.
#include "kernels/cpu/finish_row.h"
#include "kernels/cpu/panel.h"
#include "kernels/cpu/weight_rows.h"

namespace galago::kernels::GALAGO_ISA {
namespace {

constexpr std::int64_t row_block = 512;  // of m: sums of a panel stay in the second-level cache
static_assert(depth_block * panel + 2 * row_block * panel <= panel_scratch_floats);

/// Rows of x that are multiplied with all panels before the next: those in int8 that stay in the second-level
/// cache, since a panel of such weights is packed in the time of few rows. Others are packed in the time of
/// too many.
std::int64_t rows_at_once(const Linear& op) {
  if (op.int8 == nullptr) return row_block;
  constexpr std::int64_t cached_bytes = 384 << 10;
  constexpr std::int64_t fewest = 64;
  const std::int64_t row_bytes = (op.int8->stride + op.int8->stride / 4) * op.n_int8;
  const std::int64_t fitting = cached_bytes / row_bytes;
  return fitting < fewest ? fewest : (fitting < row_block ? fitting / 12 * 12 : row_block);
}

/// sums [rows][panel] of all of k for one panel of weight rows.
void sum_panel(const Linear& op, const WeightRows& rows, const void* weights, PanelPart part, float* packed,
               float* sums) {
  for (std::int64_t i = 0; i < part.n_rows * panel; ++i) sums[i] = 0;
  for (part.first = 0; part.first < op.k; part.first += depth_block) {
    part.depth = op.k - part.first < depth_block ? op.k - part.first : depth_block;
    rows.multiply(op, weights, part, packed, sums);
  }
}

void many_rows(const Linear& op, const WeightRows& rows, std::int64_t first_column, std::int64_t end_column,
               float* scratch) {
  if (scratch == nullptr) __builtin_unreachable();  // the caller's contract, which analysers cannot see
  float* packed = scratch;
  float* sums = packed + depth_block * panel;
  float* up_sums = sums + row_block * panel;
  const std::int64_t block = rows_at_once(op);
  for (std::int64_t row = 0; row < op.m; row += block) {
    const std::int64_t n_rows = op.m - row < block ? op.m - row : block;
    for (std::int64_t column = first_column; column < end_column; column += panel) {
      const std::int64_t n_columns = end_column - column < panel ? end_column - column : panel;
      const PanelPart part{row, n_rows, column, n_columns, 0, 0};
      sum_panel(op, rows, op.w, part, packed, sums);
      if (op.up != nullptr) sum_panel(op, rows, op.up, part, packed, up_sums);
      for (std::int64_t i = 0; i < n_rows; ++i) {
        finish_row(op, row + i, column, n_columns, sums + i * panel,
                   op.up != nullptr ? up_sums + i * panel : nullptr);
      }
    }
  }
}

void some_rows(const Linear& op, const WeightRows& rows, std::int64_t first_column, std::int64_t end_column) {
  // Long runs through one matrix before those through the other: memory is read ahead within a run.
  constexpr std::int64_t run = 256;
  for (std::int64_t column = first_column; column < end_column; column += run) {
    const std::int64_t n_columns = end_column - column < run ? end_column - column : run;
    for (std::int64_t row = 0; row < op.m; ++row) {
      float sums[run] = {};
      float up[run] = {};
      rows.dot(op, op.w, row, column, n_columns, sums);
      if (op.up != nullptr) rows.dot(op, op.up, row, column, n_columns, up);
      finish_row(op, row, column, n_columns, sums, op.up != nullptr ? up : nullptr);
    }
  }
}

WeightRows rows_for(const Linear& op) {
  if (op.grouped == nullptr) return plain_rows(op.element);
  return op.int8 != nullptr ? int8_rows(*op.grouped) : grouped_rows(*op.grouped);
}

}  // namespace

void multiply_panel(const Linear& op, const PanelPart& part, const float* packed, float* sums) {
  multiply_panel(op.x + part.row * op.x_stride + part.first, op.x_stride, part.n_rows, packed, part.depth,
                 sums);
}

void linear(const Linear& op, std::int64_t first_column, std::int64_t n_columns, float* scratch) {
#if defined(GALAGO_BF16)
  if (op.bf16 != nullptr) return linear_bf16(op, first_column, first_column + n_columns, scratch);
#endif
  const WeightRows rows = rows_for(op);
  if (op.m <= linear_few_rows) {
    some_rows(op, rows, first_column, first_column + n_columns);
  } else {
    many_rows(op, rows, first_column, first_column + n_columns, scratch);
  }
}

}  // namespace galago::kernels::GALAGO_ISA
