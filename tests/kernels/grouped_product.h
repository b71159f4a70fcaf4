// Products with grouped weights, held to the reference; x comes in FP32, and in int8 too where a kernel takes
// it.
#pragma once

#include "backend/kernel_formats.h"
#include "product_check.h"
#include "stored_rows.h"

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
  std::int32_t n_int8 = 1;
};

/// A product with rows w, not gated, its y left open.
inline kernels::Linear linear_of(const GroupedProduct& problem, const Activations& activations,
                                 const kernels::GroupedRows& grouped, const std::byte* w) {
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
          .y = nullptr,
          .y_stride = 0,
          .grouped = &grouped,
          .int8 = activations.int8,
          .n_int8 = activations.n_int8};
}

/// `bound` is what an element may be off by where the product is not gated.
inline void expect_equals_reference(const kernels::KernelTable& kernels, const GroupedProduct& problem,
                                    const Activations& activations, std::int64_t columns_at_once,
                                    double bound) {
  const auto& [m, n, k, format, gated] = problem;
  SCOPED_TRACE(::testing::Message() << "m " << m << " n " << n << " k " << k << " " << describe(format));
  const StoredRows w(format, n, k, 2);
  const StoredRows up(format, n, k, 3);
  const kernels::GroupedRows grouped = backend::rows_of(format, k);
  kernels::Linear op = linear_of(problem, activations, grouped, w.bytes.data());
  if (gated) op.up = up.bytes.data();
  expect_equals_reference(kernels, op, {w.values.data(), up.values.data()}, columns_at_once, {bound});
}

}  // namespace galago::testing
