// Products with grouped weights, held to the reference; x comes in FP32, and in int8 too where a kernel takes
// it.
#pragma once

#include <cmath>
#include <vector>

#include "backend/kernel_formats.h"
#include "kernels/reference/reference.h"
#include "stored_rows.h"
#include "tables.h"

namespace galago::testing {

struct GroupedProduct {
  std::int64_t m, n, k;
  Grouped format;
  bool gated = false;
};

struct Activations {
  const float* x;
  std::int64_t stride;
  const kernels::Int8Rows* int8 = nullptr;
};

/// One product with rows w; `up` is null where it is not gated.
inline kernels::Linear linear_of(const GroupedProduct& problem, const Activations& activations,
                                 const kernels::GroupedRows& grouped, const std::byte* w,
                                 std::vector<float>& y) {
  return {.x = activations.x,
          .x_stride = activations.stride,
          .w = w,
          .up = nullptr,
          .element = kernels::Element::f32,
          .m = problem.m,
          .n = problem.n,
          .k = problem.k,
          .bias = nullptr,
          .activation = kernels::Activation::none,
          .residual = nullptr,
          .residual_stride = 0,
          .y = y.data(),
          .y_stride = problem.n,
          .grouped = &grouped,
          .int8 = activations.int8};
}

/// `bound` is what an element may be off by where the product is not gated.
inline void expect_equals_reference(const kernels::KernelTable& kernels, const GroupedProduct& problem,
                                    const Activations& activations, std::int64_t columns_at_once,
                                    double bound) {
  const auto& [m, n, k, format, gated] = problem;
  SCOPED_TRACE(::testing::Message() << "m " << m << " n " << n << " k " << k << " " << describe(format));
  const StoredRows w(format, n, k, 2);
  const StoredRows up(format, n, k, 3);
  std::vector<float> y(static_cast<std::size_t>(m * n)), scratch(kernels::linear_scratch_floats);
  const kernels::GroupedRows grouped = backend::rows_of(format, k);
  kernels::Linear op = linear_of(problem, activations, grouped, w.bytes.data(), y);
  if (gated) {
    op.up = up.bytes.data();
    op.activation = kernels::Activation::silu;
  }
  for (std::int64_t first = 0; first < n; first += columns_at_once) {
    kernels.linear(op, first, std::min(columns_at_once, n - first), scratch.data());
  }
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const float* row = activations.x + i * activations.stride;
      double expected = kernels::reference::dot(row, w.values.data() + j * k, k);
      double allowed = bound;
      if (gated) {
        const double other = kernels::reference::dot(row, up.values.data() + j * k, k);
        allowed *= 1 + std::abs(expected) + std::abs(other);
        expected = kernels::reference::silu(expected) * other;
      }
      ASSERT_NEAR(y[static_cast<std::size_t>(i * n + j)], expected, allowed)
          << "row " << i << " column " << j;
    }
  }
}

}  // namespace galago::testing
