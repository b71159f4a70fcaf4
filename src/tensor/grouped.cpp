#include "tensor/grouped.h"

#include <algorithm>

#include "tensor/convert.h"
#include "tensor/encode_groups.h"

namespace galago {
namespace {

/// Byte of a row and bits to shift for an element of 4 bits.
struct Nibble {
  std::size_t byte;
  unsigned shift;
};

Nibble nibble_of(std::int64_t element) {
  const std::int64_t within = element % quant_chunk;
  const std::int64_t byte = element / quant_chunk * (quant_chunk / 2) + within % (quant_chunk / 2);
  return {static_cast<std::size_t>(byte), within < quant_chunk / 2 ? 0U : 4U};
}

float read_number(DType dtype, std::span<const std::byte> bytes, Bytes at) {
  float value = 0;
  to_f32(dtype, bytes.subspan(at, size_of(dtype)), {&value, 1});
  return value;
}

GroupValues group_values(const Grouped& format, const GroupedLayout& layout, std::span<const std::byte> row,
                         std::int64_t group) {
  const auto index = static_cast<Bytes>(group);
  const Bytes width = size_of(format.scale);
  GroupValues values{read_number(format.scale, row, layout.scales_at + index * width)};
  if (format.offset == GroupOffset::zero_point) {
    const auto stored = std::to_integer<int>(row[layout.offsets_at + index]);
    values.zero = (stored ^ 0x80) - 0x80;  // it is a signed byte
  } else if (format.offset == GroupOffset::minimum) {
    values.minimum = read_number(format.scale, row, layout.offsets_at + index * width);
  }
  return values;
}

/// A quant as GroupOffset counts it; a codebook's index as it is.
int read_quant(const Grouped& format, std::span<const std::byte> row, std::int64_t element) {
  if (format.bits == 8) return static_cast<std::int8_t>(row[static_cast<std::size_t>(element)]);
  const Nibble at = nibble_of(element);
  const int bits = (std::to_integer<int>(row[at.byte]) >> at.shift) & 15;
  const bool centred = format.offset == GroupOffset::none && format.codebook == Codebook::none;
  return centred ? bits - 8 : bits;
}

GroupValues choose_values(const Grouped& format, std::span<const float> group) {
  const QuantRange range = range_of(format);
  const auto [lowest, highest] = extremes_of(group);
  if (format.offset == GroupOffset::none) {
    // The value farthest from 0 lands on the lowest quant, which has no counterpart above 0.
    const float extreme = -lowest > highest ? lowest : highest;
    return {rounded(format, extreme / range.lowest)};
  }
  const float scale = rounded(format, (highest - lowest) / (range.highest - range.lowest));
  return {scale, 0, rounded(format, lowest - scale * range.lowest)};
}

bool is_multiple(std::int32_t a, std::int32_t b) {
  return a % b == 0;
}

}  // namespace

GroupedRow::GroupedRow(const Grouped& format, std::int64_t cols, std::span<std::byte> bytes)
    : format_(format), layout_(layout_of(format, cols)), bytes_(bytes.first(layout_.row_bytes)) {
  std::fill(bytes_.begin(), bytes_.end(), std::byte{0});
}

void GroupedRow::put_quant(std::int64_t element, int quant) {
  if (format_.bits == 8) {
    bytes_[static_cast<std::size_t>(element)] = static_cast<std::byte>(quant);
    return;
  }
  const bool centred = format_.offset == GroupOffset::none && format_.codebook == Codebook::none;
  const Nibble at = nibble_of(element);
  bytes_[at.byte] |= static_cast<std::byte>((centred ? quant + 8 : quant) << at.shift);
}

void GroupedRow::put_quants(std::int64_t first, std::span<const std::int8_t> quants) {
  if (format_.bits == 8) {
    std::copy_n(std::as_bytes(quants).begin(), quants.size(), bytes_.begin() + first);
    return;
  }
  if (first % quant_chunk != 0 || quants.size() != quant_chunk) {
    for (std::size_t i = 0; i < quants.size(); ++i)
      put_quant(first + static_cast<std::int64_t>(i), quants[i]);
    return;
  }
  const bool centred = format_.offset == GroupOffset::none && format_.codebook == Codebook::none;
  const int zero = centred ? 8 : 0;
  constexpr std::size_t half = quant_chunk / 2;
  std::byte* const chunk = bytes_.data() + first / 2;
  for (std::size_t i = 0; i < half; ++i) {
    chunk[i] = static_cast<std::byte>((quants[i] + zero) | (quants[i + half] + zero) << 4);
  }
}

void GroupedRow::put_chunk(std::int64_t chunk, std::span<const std::byte> quants) {
  const auto size = static_cast<std::size_t>(quant_chunk * format_.bits / 8);
  std::copy_n(quants.begin(), size, bytes_.begin() + static_cast<std::ptrdiff_t>(size) * chunk);
}

void GroupedRow::put_scale(std::int64_t group, float scale) {
  put_number(layout_.scales_at, group, scale);
}

void GroupedRow::put_minimum(std::int64_t group, float minimum) {
  put_number(layout_.offsets_at, group, minimum);
}

void GroupedRow::put_zero(std::int64_t group, int zero) {
  bytes_[layout_.offsets_at + static_cast<Bytes>(group)] = static_cast<std::byte>(zero);
}

void GroupedRow::put_number(Bytes at, std::int64_t group, float value) {
  const Bytes width = size_of(format_.scale);
  from_f32(format_.scale, {&value, 1}, bytes_.subspan(at + static_cast<Bytes>(group) * width, width));
}

bool encode_row(const Grouped& format, std::span<const float> row, std::span<std::byte> to) {
  return encode_groups(format, row, to,
                       [&](std::span<const float> group) { return choose_values(format, group); });
}

void decode_row(const Grouped& format, std::span<const std::byte> from, std::span<float> row) {
  const auto cols = static_cast<std::int64_t>(row.size());
  const GroupedLayout layout = layout_of(format, cols);
  for (std::int64_t group = 0; group < layout.n_groups; ++group) {
    const GroupValues values = group_values(format, layout, from, group);
    const std::int64_t end = std::min(cols, (group + 1) * format.group);
    for (std::int64_t i = group * format.group; i < end; ++i) {
      const int quant = read_quant(format, from, i);
      float value = static_cast<float>(quant - values.zero);
      if (format.codebook != Codebook::none)
        value = values_of(format.codebook)[static_cast<std::size_t>(quant)];
      row[static_cast<std::size_t>(i)] = values.scale * value + values.minimum;
    }
  }
}

std::optional<Grouped> join(const Grouped& a, const Grouped& b) {
  if (a == b) return a;
  Grouped joint = a;
  joint.bits = std::max(a.bits, b.bits);
  joint.group = std::min(a.group, b.group);
  if (!is_multiple(std::max(a.group, b.group), joint.group)) return std::nullopt;
  if (a.scale == DType::f32 || b.scale == DType::f32) joint.scale = DType::f32;
  if (a.codebook != b.codebook) return std::nullopt;
  if (a.offset == b.offset) return joint;
  const bool zero_points = a.offset == GroupOffset::zero_point || b.offset == GroupOffset::zero_point;
  const bool minima = a.offset == GroupOffset::minimum || b.offset == GroupOffset::minimum;
  if (zero_points && minima) return std::nullopt;
  joint.offset = zero_points ? GroupOffset::zero_point : GroupOffset::minimum;
  // Quants around 0 that become quants from 0 on need what was 0: exact as zero point, and as minimum only
  // where the bits are 8, which keep the sign.
  if (joint.bits == 4 && minima) joint.bits = 8;
  return joint;
}

void convert_row(const Grouped& from_format, std::span<const std::byte> from, const Grouped& to_format,
                 std::int64_t cols, std::span<std::byte> to) {
  const GroupedLayout layout = layout_of(from_format, cols);
  GroupedRow record(to_format, cols, to);
  // Centred quants of 4 bits that get zero points are counted from 0 then, with 8 as their zero.
  const bool shifted = to_format.bits == 4 && from_format.offset == GroupOffset::none &&
                       to_format.offset == GroupOffset::zero_point;
  for (std::int64_t first = 0; first < cols; first += to_format.group) {
    const GroupValues values = group_values(from_format, layout, from, first / from_format.group);
    const std::int64_t group = first / to_format.group;
    record.put_scale(group, values.scale);
    if (to_format.offset == GroupOffset::minimum) record.put_minimum(group, values.minimum);
    if (to_format.offset == GroupOffset::zero_point) record.put_zero(group, shifted ? 8 : values.zero);
  }
  for (std::int64_t i = 0; i < cols; ++i) {
    record.put_quant(i, read_quant(from_format, from, i) + (shifted ? 8 : 0));
  }
}

}  // namespace galago
