#include "backend/kernel_formats.h"

namespace galago::backend {
namespace {

kernels::GroupOffset offset_of(GroupOffset offset) {
  switch (offset) {
    case GroupOffset::none:
      return kernels::GroupOffset::none;
    case GroupOffset::minimum:
      return kernels::GroupOffset::minimum;
    case GroupOffset::zero_point:
      return kernels::GroupOffset::zero_point;
  }
  return kernels::GroupOffset::none;
}

}  // namespace

kernels::Activation activation_of(Activation activation) {
  switch (activation) {
    case Activation::none:
      return kernels::Activation::none;
    case Activation::gelu:
      return kernels::Activation::gelu;
    case Activation::quick_gelu:
      return kernels::Activation::quick_gelu;
    case Activation::silu:
      return kernels::Activation::silu;
  }
  return kernels::Activation::none;
}

kernels::Element element_of(DType dtype) {
  return dtype == DType::f16    ? kernels::Element::f16
         : dtype == DType::bf16 ? kernels::Element::bf16
                                : kernels::Element::f32;
}

kernels::GroupedRows rows_of(const Grouped& grouped, std::int64_t cols) {
  const GroupedLayout layout = layout_of(grouped, cols);
  return {.bits = grouped.bits,
          .group = grouped.group,
          .scale = element_of(grouped.scale),
          .offset = offset_of(grouped.offset),
          .codebook = grouped.codebook == Codebook::none ? nullptr : values_of(grouped.codebook).data(),
          .row_bytes = static_cast<std::int64_t>(layout.row_bytes),
          .scales_at = static_cast<std::int64_t>(layout.scales_at),
          .offsets_at = static_cast<std::int64_t>(layout.offsets_at)};
}

kernels::Linear product_of(const Matrix& x, const Weight& w, const Matrix& y) {
  return {.x = x.data,
          .x_stride = x.stride,
          .w = w.data,
          .up = nullptr,
          .element = element_of(w.format.dtype()),
          .m = x.rows,
          .n = y.cols,
          .k = x.cols,
          .bias = nullptr,
          .activation = kernels::Activation::none,
          .residual = nullptr,
          .residual_stride = 0,
          .y = y.data,
          .y_stride = y.stride};
}

kernels::Linear gated_product_of(const Matrix& x, const Weight& gate_up, Activation activation,
                                 const Matrix& y) {
  kernels::Linear product = product_of(x, gate_up, y);
  const auto* const gate = static_cast<const std::byte*>(gate_up.data);
  if (gate != nullptr) product.up = gate + gate_up.bytes() / 2;
  product.activation = activation_of(activation);
  return product;
}

void set_epilogue(kernels::Linear& product, const Epilogue& epilogue) {
  product.bias = floats(epilogue.bias);
  product.activation = activation_of(epilogue.activation);
  if (epilogue.residual.rows == 0) return;
  product.residual = epilogue.residual.data;
  product.residual_stride = epilogue.residual.stride;
}

}  // namespace galago::backend
