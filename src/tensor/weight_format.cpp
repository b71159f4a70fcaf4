#include "tensor/weight_format.h"

#include <fmt/format.h>

namespace galago {
namespace {

constexpr std::array<float, 16> nf4_values = {
    -1.0F,
    -0.6961928009986877F,
    -0.5250730514526367F,
    -0.39491748809814453F,
    -0.28444138169288635F,
    -0.18477343022823334F,
    -0.09105003625154495F,
    0.0F,
    0.07958029955625534F,
    0.16093020141124725F,
    0.24611230194568634F,
    0.33791524171829224F,
    0.44070982933044434F,
    0.5626170039176941F,
    0.7229568362236023F,
    1.0F,
};
constexpr std::array<float, 16> iq4_nl_values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                 1,    13,   25,  38,  53,  69,  89,  113};

constexpr Bytes round_up(Bytes value, Bytes unit) {
  return (value + unit - 1) / unit * unit;
}

Bytes offset_bytes(const Grouped& grouped) {
  switch (grouped.offset) {
    case GroupOffset::none:
      return 0;
    case GroupOffset::minimum:
      return size_of(grouped.scale);
    case GroupOffset::zero_point:
      return 1;
  }
  return 0;
}

}  // namespace

const std::array<float, 16>& values_of(Codebook codebook) {
  return codebook == Codebook::iq4_nl ? iq4_nl_values : nf4_values;
}

GroupedLayout layout_of(const Grouped& grouped, std::int64_t cols) {
  GroupedLayout layout;
  layout.n_groups = (cols + grouped.group - 1) / grouped.group;
  const auto n_groups = static_cast<Bytes>(layout.n_groups);
  layout.scales_at = round_up(static_cast<Bytes>(cols), quant_chunk) * grouped.bits / 8;
  layout.offsets_at = layout.scales_at + n_groups * size_of(grouped.scale);
  layout.row_bytes = round_up(layout.offsets_at + n_groups * offset_bytes(grouped), 16);
  return layout;
}

Bytes WeightFormat::row_bytes(std::int64_t cols) const {
  return grouped_ ? layout_of(*grouped_, cols).row_bytes : static_cast<Bytes>(cols) * size_of(dtype_);
}

double WeightFormat::bits_per_weight() const {
  if (!grouped_) return 8.0 * static_cast<double>(size_of(dtype_));
  const auto shared = static_cast<double>(size_of(grouped_->scale) + offset_bytes(*grouped_));
  return grouped_->bits + 8 * shared / grouped_->group;
}

std::string describe(const WeightFormat& format) {
  if (!format.is_grouped()) return std::string(name_of(format.dtype()));
  const Grouped& grouped = format.grouped();
  std::string text = grouped.codebook == Codebook::nf4      ? "nf4"
                     : grouped.codebook == Codebook::iq4_nl ? "iq4_nl"
                                                            : fmt::format("int{}", grouped.bits);
  text += fmt::format(" in groups of {}", grouped.group);
  if (grouped.offset == GroupOffset::minimum) text += " with minima";
  if (grouped.offset == GroupOffset::zero_point) text += " with zero points";
  if (grouped.scale == DType::f32) text += ", fp32 scales";
  return text;
}

}  // namespace galago
