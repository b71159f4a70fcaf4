// How kernels of any device see weights, activations and products.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "kernels/cpu/kernels.h"

namespace galago::backend {

kernels::Activation activation_of(Activation activation);
kernels::Element element_of(DType dtype);
/// The rows of a grouped format.
kernels::GroupedRows rows_of(const Grouped& grouped, std::int64_t cols);

/// y = x w^T as a kernel takes it; without what grouped weights and an epilogue add.
kernels::Linear product_of(const Matrix& x, const Weight& w, const Matrix& y);
/// y = activation(x gate^T) * (x up^T); gate_up holds the rows of gate, then those of up.
kernels::Linear gated_product_of(const Matrix& x, const Weight& gate_up, Activation activation,
                                 const Matrix& y);
void set_epilogue(kernels::Linear& product, const Epilogue& epilogue);

/// The values of a weight that is kept in FP32; null in plan mode.
inline const float* floats(const Weight& weight) {
  return static_cast<const float*>(weight.data);
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace galago::backend
