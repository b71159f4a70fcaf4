// A kernel's product held to the reference.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/reference/reference.h"
#include "tables.h"

namespace galago::testing {

/// What the stored rows of a product stand for: [n, k] each.
struct ProductValues {
  const float* w;
  const float* up;
};

/// What an element may be off by: `absolute` where the product is not gated, and a fraction of it.
struct ProductBound {
  double absolute;
  double relative = 0;
};

/// Computes `op`, gated where it has rows of up, `columns_at_once`, and compares; op.y is not looked at.
inline void expect_equals_reference(const kernels::KernelTable& kernels, kernels::Linear op,
                                    const ProductValues& values, std::int64_t columns_at_once,
                                    const ProductBound& bound) {
  std::vector<float> y(static_cast<std::size_t>(op.m * op.n)),
      scratch(kernels::linear_scratch_floats(op.bf16 != nullptr));
  op.y = y.data();
  op.y_stride = op.n;
  if (op.up != nullptr) op.activation = kernels::Activation::silu;
  for (std::int64_t first = 0; first < op.n; first += columns_at_once) {
    kernels.linear(op, first, std::min(columns_at_once, op.n - first), scratch.data());
  }
  for (std::int64_t i = 0; i < op.m; ++i) {
    for (std::int64_t j = 0; j < op.n; ++j) {
      const float* row = op.x + i * op.x_stride;
      double expected = kernels::reference::dot(row, values.w + j * op.k, op.k);
      double allowed = bound.absolute;
      if (op.up != nullptr) {
        const double other = kernels::reference::dot(row, values.up + j * op.k, op.k);
        allowed *= 1 + std::abs(expected) + std::abs(other);
        expected = kernels::reference::silu(expected) * other;
      }
      ASSERT_NEAR(y[static_cast<std::size_t>(i * op.n + j)], expected,
                  allowed + std::abs(expected) * bound.relative)
          << "row " << i << " column " << j;
    }
  }
}

}  // namespace galago::testing
