// y = activation(x w^T + bias) + residual and the gated form, for weights in FP32, FP16 and BF16, summed in
// FP32. Grouped weights: linear_grouped.cpp.
#include "kernels/cpu/element_types.h"
#include "kernels/cpu/linear_blocks.h"

namespace galago::kernels::GALAGO_ISA {

void linear_grouped(const Linear& op, std::int64_t first_column, std::int64_t n_columns, float* scratch);

namespace {

/// to [depth][panel] = the transposed first n_rows rows of w, columns [first, first + depth); missing
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
float dot_one(const float* x, const typename Type::Storage* w, std::int64_t k) {
  Vec total = set1(0);
  std::int64_t d = 0;
  for (; d + width <= k; d += width) total = fma(load(x + d), Type::vector(w + d), total);
  float result = sum(total);
  for (; d < k; ++d) result += x[d] * Type::scalar(w[d]);
  return result;
}

/// Weight rows of k elements, one after the other.
template <class Type>
struct PlainRows {
  std::int64_t k;

  const typename Type::Storage* at(const void* weights, std::int64_t row) const {
    return static_cast<const typename Type::Storage*>(weights) + row * k;
  }
  void pack(const void* weights, std::int64_t row, std::int64_t n_rows, std::int64_t first,
            std::int64_t depth, float* to) const {
    pack_panel<Type>(at(weights, row) + first, k, n_rows, depth, to);
  }
  void dot(const void* weights, const float* x, std::int64_t row, std::int64_t n_rows, float* sums) const {
    const auto* w = at(weights, row);
    std::int64_t j = 0;
    for (; j + 4 <= n_rows; j += 4) dot_four<Type>(x, w + j * k, k, sums + j);
    for (; j < n_rows; ++j) sums[j] = dot_one<Type>(x, w + j * k, k);
  }
};

}  // namespace

void linear(const Linear& op, std::int64_t first_column, std::int64_t n_columns, float* scratch) {
  if (op.grouped != nullptr) return linear_grouped(op, first_column, n_columns, scratch);
  switch (op.element) {
    case Element::f32:
      return multiply(op, PlainRows<F32>{op.k}, first_column, n_columns, scratch);
    case Element::f16:
      return multiply(op, PlainRows<F16>{op.k}, first_column, n_columns, scratch);
    case Element::bf16:
      return multiply(op, PlainRows<Bf16>{op.k}, first_column, n_columns, scratch);
  }
}

}  // namespace galago::kernels::GALAGO_ISA
