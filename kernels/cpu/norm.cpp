// LayerNorm (arXiv:1607.06450) and RMSNorm (arXiv:1910.07467), a row at a time in two passes.
#include <math.h>

#include "kernels/cpu/vector_math.h"

namespace galago::kernels::GALAGO_ISA {
namespace {

float sum_of(const float* x, std::int64_t n) {
  Vec total = set1(0);
  std::int64_t i = 0;
  for (; i + width <= n; i += width) total = add(total, load(x + i));
  float result = sum(total);
  for (; i < n; ++i) result += x[i];
  return result;
}

/// Sum of (x - center)^2.
float squares_of(const float* x, std::int64_t n, float center) {
  Vec total = set1(0);
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    const Vec difference = sub(load(x + i), set1(center));
    total = fma(difference, difference, total);
  }
  float result = sum(total);
  for (; i < n; ++i) result += (x[i] - center) * (x[i] - center);
  return result;
}

/// y = (x - center) * scale * weight + bias
void scale_row(const Norm& op, const float* x, float center, float scale, float* y) {
  for (std::int64_t i = 0; i < op.cols; ++i) {
    const float value = (x[i] - center) * scale * op.weight[i];
    y[i] = op.bias != nullptr ? value + op.bias[i] : value;
  }
}

}  // namespace

void layer_norm(const Norm& op, std::int64_t first_row, std::int64_t n_rows) {
  const auto n = static_cast<float>(op.cols);
  for (std::int64_t row = first_row; row < first_row + n_rows; ++row) {
    const float* x = op.x + row * op.x_stride;
    const float mean = sum_of(x, op.cols) / n;
    const float variance = squares_of(x, op.cols, mean) / n;
    scale_row(op, x, mean, 1.0F / sqrtf(variance + op.epsilon), op.y + row * op.y_stride);
  }
}

void rms_norm(const Norm& op, std::int64_t first_row, std::int64_t n_rows) {
  for (std::int64_t row = first_row; row < first_row + n_rows; ++row) {
    const float* x = op.x + row * op.x_stride;
    const float mean_square = squares_of(x, op.cols, 0) / static_cast<float>(op.cols);
    scale_row(op, x, 0, 1.0F / sqrtf(mean_square + op.epsilon), op.y + row * op.y_stride);
  }
}

}  // namespace galago::kernels::GALAGO_ISA
