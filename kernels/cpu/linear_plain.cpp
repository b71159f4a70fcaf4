// Rows of weights in FP32, FP16 and BF16.
#include "kernels/cpu/element_types.h"
#include "kernels/cpu/weight_rows.h"

namespace galago::kernels::GALAGO_ISA {
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

template <class Type>
const typename Type::Storage* row_at(const Linear& op, const void* weights, std::int64_t row) {
  return static_cast<const typename Type::Storage*>(weights) + row * op.k;
}

template <class Type>
void multiply(const Linear& op, const void* weights, const PanelPart& part, float* packed, float* sums) {
  pack_panel<Type>(row_at<Type>(op, weights, part.column) + part.first, op.k, part.n_columns, part.depth,
                   packed);
  multiply_panel(op, part, packed, sums);
}

template <class Type>
void dot(const Linear& op, const void* weights, std::int64_t row, std::int64_t column, std::int64_t n_columns,
         float* sums) {
  const float* x = op.x + row * op.x_stride;
  const auto* w = row_at<Type>(op, weights, column);
  std::int64_t j = 0;
  for (; j + 4 <= n_columns; j += 4) dot_four<Type>(x, w + j * op.k, op.k, sums + j);
  for (; j < n_columns; ++j) sums[j] = dot_one<Type>(x, w + j * op.k, op.k);
}

}  // namespace

WeightRows plain_rows(Element element) {
  switch (element) {
    case Element::f32:
      return {multiply<F32>, dot<F32>};
    case Element::f16:
      return {multiply<F16>, dot<F16>};
    case Element::bf16:
      break;
  }
  return {multiply<Bf16>, dot<Bf16>};
}

}  // namespace galago::kernels::GALAGO_ISA
