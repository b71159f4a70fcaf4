// What follows the sums of a product: bias, activation, gate, residual.
#pragma once

#include <string.h>

#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_math.h"

namespace galago::kernels::GALAGO_ISA {

/// y [row][column, column + n) from sums [n], n of them, which have room for whole vectors and are
/// overwritten. `up` is null unless gated.
GALAGO_INLINE void finish_row(const Linear& op, std::int64_t row, std::int64_t column, std::int64_t n,
                              float* sums, const float* up) {
  if (op.bias != nullptr) {
    for (std::int64_t j = 0; j < n; ++j) sums[j] += op.bias[column + j];
  }
  if (op.activation != Activation::none) {
    for (std::int64_t j = 0; j < n; j += width) store(sums + j, activate(load(sums + j), op.activation));
  }
  if (up != nullptr) {
    for (std::int64_t j = 0; j < n; ++j) sums[j] *= up[j];
  }
  float* y = op.y + row * op.y_stride + column;
  if (op.residual == nullptr) {
    memcpy(y, sums, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  const float* residual = op.residual + row * op.residual_stride + column;
  for (std::int64_t j = 0; j < n; ++j) y[j] = sums[j] + residual[j];
}

}  // namespace galago::kernels::GALAGO_ISA
