// y = activation(x w^T + bias) + residual and the gated form, for weights in FP32, FP16 and BF16, summed in
// FP32.
//
// A few rows: dot products along the weights' rows, which are read once, at the memory's speed. More rows:
// panels of 2 * width weight rows are widened and transposed into scratch, and micro_rows x (2 * width)
// results are kept in registers (Goto and van de Geijn, 2008).
#include "kernels/cpu/element_types.h"
#include "kernels/cpu/vector_math.h"

namespace galago::kernels::GALAGO_ISA {
namespace {

constexpr std::int64_t depth_block = 512;  // of k: a panel stays in the first-level cache
constexpr std::int64_t row_block = 512;    // of m: sums of a panel stay in the second-level cache
constexpr std::int64_t panel = 2 * width;
constexpr std::int64_t few_rows = 3;
static_assert(depth_block * panel + 2 * row_block * panel <= linear_scratch_floats);

/// to [depth][panel] = the transposed rows [row, row + n_rows) of w, columns [first, first + depth); missing
/// rows are 0.
template <class Type>
void pack_panel(const typename Type::Storage* w, std::int64_t k, std::int64_t n_rows, std::int64_t depth,
                float* to) {
  for (std::int64_t j = 0; j < panel; ++j) {
    if (j >= n_rows) {
      for (std::int64_t d = 0; d < depth; ++d) to[d * panel + j] = 0;
      continue;
    }
    const typename Type::Storage* row = w + j * k;
    std::int64_t d = 0;
    for (; d + width <= depth; d += width) {
      float wide[width];
      store(wide, Type::vector(row + d));
      for (int i = 0; i < width; ++i) to[(d + i) * panel + j] = wide[i];
    }
    for (; d < depth; ++d) to[d * panel + j] = Type::scalar(row[d]);
  }
}

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

void multiply_panel(const float* x, std::int64_t x_stride, std::int64_t n_rows, const float* packed,
                    std::int64_t depth, float* sums) {
  std::int64_t i = 0;
  for (; i + micro_rows <= n_rows; i += micro_rows) {
    multiply_tile<micro_rows>(x + i * x_stride, x_stride, packed, depth, sums + i * panel);
  }
  for (; i + 2 <= n_rows; i += 2)
    multiply_tile<2>(x + i * x_stride, x_stride, packed, depth, sums + i * panel);
  if (i < n_rows) multiply_tile<1>(x + i * x_stride, x_stride, packed, depth, sums + i * panel);
}

/// sums [rows][panel] of all of k for one panel of weight rows.
template <class Type>
void sum_panel(const Linear& op, const void* weights, std::int64_t row, std::int64_t n_rows,
               std::int64_t column, float* packed, float* sums) {
  const std::int64_t n_columns = op.n - column < panel ? op.n - column : panel;
  const auto* w = static_cast<const typename Type::Storage*>(weights) + column * op.k;
  for (std::int64_t i = 0; i < n_rows * panel; ++i) sums[i] = 0;
  for (std::int64_t first = 0; first < op.k; first += depth_block) {
    const std::int64_t depth = op.k - first < depth_block ? op.k - first : depth_block;
    pack_panel<Type>(w + first, op.k, n_columns, depth, packed);
    multiply_panel(op.x + row * op.x_stride + first, op.x_stride, n_rows, packed, depth, sums);
  }
}

/// Finishes one row of a panel's sums: bias, activation, gate, residual. `up` is null unless gated.
void finish_row(const Linear& op, std::int64_t row, std::int64_t column, std::int64_t n_columns, float* sums,
                const float* up) {
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

template <class Type>
void many_rows(const Linear& op, std::int64_t first_column, std::int64_t end_column, float* scratch) {
  if (scratch == nullptr) __builtin_unreachable();  // the caller's contract, which analysers cannot see
  float* packed = scratch;
  float* sums = packed + depth_block * panel;
  float* up_sums = sums + row_block * panel;
  for (std::int64_t row = 0; row < op.m; row += row_block) {
    const std::int64_t n_rows = op.m - row < row_block ? op.m - row : row_block;
    for (std::int64_t column = first_column; column < end_column; column += panel) {
      const std::int64_t n_columns = end_column - column < panel ? end_column - column : panel;
      sum_panel<Type>(op, op.w, row, n_rows, column, packed, sums);
      if (op.up != nullptr) sum_panel<Type>(op, op.up, row, n_rows, column, packed, up_sums);
      for (std::int64_t i = 0; i < n_rows; ++i) {
        finish_row(op, row + i, column, n_columns, sums + i * panel,
                   op.up != nullptr ? up_sums + i * panel : nullptr);
      }
    }
  }
}

/// Dot products of one row of x with four rows of w.
template <class Type>
void dot_four(const float* x, const typename Type::Storage* w, std::int64_t k, float* result) {
  Vec sums[4][2];
  for (auto& pair : sums) pair[0] = pair[1] = set1(0);
  std::int64_t d = 0;
  for (; d + 2 * width <= k; d += 2 * width) {
    const Vec x0 = load(x + d);
    const Vec x1 = load(x + d + width);
    for (int j = 0; j < 4; ++j) {
      sums[j][0] = fma(x0, Type::vector(w + j * k + d), sums[j][0]);
      sums[j][1] = fma(x1, Type::vector(w + j * k + d + width), sums[j][1]);
    }
  }
  for (int j = 0; j < 4; ++j) result[j] = sum(add(sums[j][0], sums[j][1]));
  for (; d < k; ++d) {
    for (int j = 0; j < 4; ++j) result[j] += x[d] * Type::scalar(w[j * k + d]);
  }
}

template <class Type>
float dot(const float* x, const typename Type::Storage* w, std::int64_t k) {
  Vec total = set1(0);
  std::int64_t d = 0;
  for (; d + width <= k; d += width) total = fma(load(x + d), Type::vector(w + d), total);
  float result = sum(total);
  for (; d < k; ++d) result += x[d] * Type::scalar(w[d]);
  return result;
}

/// sums [n_columns] of one row of x with weight rows [column, column + n_columns).
template <class Type>
void dot_columns(const Linear& op, const void* weights, std::int64_t row, std::int64_t column,
                 std::int64_t n_columns, float* sums) {
  const float* x = op.x + row * op.x_stride;
  const auto* w = static_cast<const typename Type::Storage*>(weights) + column * op.k;
  std::int64_t j = 0;
  for (; j + 4 <= n_columns; j += 4) dot_four<Type>(x, w + j * op.k, op.k, sums + j);
  for (; j < n_columns; ++j) sums[j] = dot<Type>(x, w + j * op.k, op.k);
}

template <class Type>
void some_rows(const Linear& op, std::int64_t first_column, std::int64_t end_column) {
  for (std::int64_t column = first_column; column < end_column; column += panel) {
    const std::int64_t n_columns = end_column - column < panel ? end_column - column : panel;
    for (std::int64_t row = 0; row < op.m; ++row) {
      float sums[panel] = {};
      float up[panel] = {};
      dot_columns<Type>(op, op.w, row, column, n_columns, sums);
      if (op.up != nullptr) dot_columns<Type>(op, op.up, row, column, n_columns, up);
      finish_row(op, row, column, n_columns, sums, op.up != nullptr ? up : nullptr);
    }
  }
}

template <class Type>
void linear_of(const Linear& op, std::int64_t first_column, std::int64_t n_columns, float* scratch) {
  if (op.m <= few_rows) {
    some_rows<Type>(op, first_column, first_column + n_columns);
  } else {
    many_rows<Type>(op, first_column, first_column + n_columns, scratch);
  }
}

}  // namespace

void linear(const Linear& op, std::int64_t first_column, std::int64_t n_columns, float* scratch) {
  switch (op.element) {
    case Element::f32:
      return linear_of<F32>(op, first_column, n_columns, scratch);
    case Element::f16:
      return linear_of<F16>(op, first_column, n_columns, scratch);
    case Element::bf16:
      return linear_of<Bf16>(op, first_column, n_columns, scratch);
  }
}

}  // namespace galago::kernels::GALAGO_ISA
