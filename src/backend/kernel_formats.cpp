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

}  // namespace galago::backend
