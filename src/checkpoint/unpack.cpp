// One reader for each kind of packing gives quants and groups; records and values are made of these alike.
#include "checkpoint/unpack.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tensor/convert.h"
#include "tensor/grouped.h"

namespace galago::checkpoint {
namespace {

template <class T>
T at(std::span<const std::byte> bytes, std::int64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + static_cast<std::size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

/// w = scale * (quant - zero), or scale * codebook[quant].
struct Scaled {
  float scale;
  int zero;
};

float rounded(DType type, float value) {
  if (type == DType::f16) return f16_to_f32(f32_to_f16(value));
  return type == DType::bf16 ? bf16_to_f32(f32_to_bf16(value)) : value;
}

/// Quants of one row, whatever packed them.
class RowReader {
 public:
  RowReader(const Packing& packing, PartBytes parts, std::int64_t row, std::int64_t cols)
      : packing_(packing), parts_(parts), row_(row), cols_(cols) {
    if (packing.kind == Packing::Kind::gptq || packing.kind == Packing::Kind::awq) {
      n_rows_ = static_cast<std::int64_t>(parts[2].size() / 2) / (cols / packing.group);
    }
  }

  int quant(std::int64_t column) const {
    switch (packing_.kind) {
      case Packing::Kind::awq:
        return awq_nibble(parts_[0], column);
      case Packing::Kind::gptq: {
        const std::int64_t each = 32 / packing_.bits;
        return bits_of(at<std::uint32_t>(parts_[0], column / each * n_rows_ + row_), column % each);
      }
      case Packing::Kind::nf4: {
        const std::int64_t element = row_ * cols_ + column;
        const auto pair = std::to_integer<int>(parts_[0][static_cast<std::size_t>(element / 2)]);
        return element % 2 == 0 ? pair >> 4 : pair & 15;
      }
      case Packing::Kind::int8_rows:
        return at<std::int8_t>(parts_[0], row_ * cols_ + column);
      case Packing::Kind::records:
        break;
    }
    return 0;
  }

  Scaled scaled(std::int64_t column) const {
    switch (packing_.kind) {
      case Packing::Kind::awq: {
        const std::int64_t group = column / packing_.group;
        return {half(group), awq_nibble(parts_[1], group)};
      }
      case Packing::Kind::gptq: {
        const bool ordered = parts_.size() == 3;
        const std::int64_t group = ordered ? column / packing_.group : at<std::int32_t>(parts_[3], column);
        const std::int64_t each = 32 / packing_.bits;
        const auto zeros = at<std::uint32_t>(parts_[1], group * (n_rows_ / each) + row_ / each);
        return {half(group), bits_of(zeros, row_ % each) + packing_.zero_bias};
      }
      case Packing::Kind::nf4:
        return {absmax((row_ * cols_ + column) / packing_.group), 0};
      case Packing::Kind::int8_rows:
        return {at<float>(parts_[1], row_) / 127.0F, 0};
      case Packing::Kind::records:
        break;
    }
    return {};
  }

 private:
  int bits_of(std::uint32_t word, std::int64_t index) const {
    return static_cast<int>(word >> (packing_.bits * index) & ((1U << packing_.bits) - 1));
  }

  /// AWQ's words hold eight rows' quants in the order 0 2 4 6 1 3 5 7.
  int awq_nibble(std::span<const std::byte> words, std::int64_t line) const {
    constexpr std::array<int, 8> place = {0, 4, 1, 5, 2, 6, 3, 7};
    const auto word = at<std::uint32_t>(words, line * (n_rows_ / 8) + row_ / 8);
    return bits_of(word, place[static_cast<std::size_t>(row_ % 8)]);
  }

  float half(std::int64_t group) const {
    return f16_to_f32(at<std::uint16_t>(parts_[2], group * n_rows_ + row_));
  }

  float absmax(std::int64_t block) const {
    if (packing_.nested_group == 0) return at<float>(parts_[1], block);
    const auto code = at<std::uint8_t>(parts_[1], block);
    return at<float>(parts_[3], code) * at<float>(parts_[2], block / packing_.nested_group) +
           packing_.absmax_offset;
  }

  const Packing& packing_;
  PartBytes parts_;
  std::int64_t row_;
  std::int64_t cols_;
  std::int64_t n_rows_ = 0;
};

std::span<const std::byte> record_of(const Packing& packing, PartBytes parts, std::int64_t row,
                                     std::int64_t cols) {
  const Bytes row_bytes = packing.format.row_bytes(cols);
  return parts[0].subspan(static_cast<Bytes>(row) * row_bytes, row_bytes);
}

}  // namespace

void unpack_record(const Packing& packing, PartBytes parts, std::int64_t row, std::int64_t cols,
                   std::span<std::byte> to) {
  const Grouped& format = packing.format.grouped();
  if (packing.kind == Packing::Kind::records) {
    const auto record = record_of(packing, parts, row, cols);
    std::copy(record.begin(), record.end(), to.begin());
    return;
  }
  const RowReader reader(packing, parts, row, cols);
  GroupedRow record(format, cols, to);
  // GPTQ counts quants of 8 bits from 0; ours are signed.
  const int shift = packing.kind == Packing::Kind::gptq && packing.bits == 8 ? 128 : 0;
  for (std::int64_t first = 0; first < cols; first += format.group) {
    const Scaled scaled = reader.scaled(first);
    const std::int64_t group = first / format.group;
    record.put_scale(group, scaled.scale);
    if (format.offset == GroupOffset::zero_point) record.put_zero(group, scaled.zero);
    if (format.offset == GroupOffset::minimum) {
      record.put_minimum(group, scaled.scale * static_cast<float>(shift - scaled.zero));
    }
  }
  for (std::int64_t i = 0; i < cols; ++i) record.put_quant(i, reader.quant(i) - shift);
}

void unpack_values(const Packing& packing, PartBytes parts, std::int64_t row, std::span<float> to) {
  const auto cols = static_cast<std::int64_t>(to.size());
  if (packing.kind == Packing::Kind::records) {
    decode_row(packing.format.grouped(), record_of(packing, parts, row, cols), to);
    return;
  }
  const RowReader reader(packing, parts, row, cols);
  const auto& table = values_of(Codebook::nf4);
  for (std::size_t i = 0; i < to.size(); ++i) {
    const int quant = reader.quant(static_cast<std::int64_t>(i));
    const Scaled scaled = reader.scaled(static_cast<std::int64_t>(i));
    const float value = packing.kind == Packing::Kind::nf4 ? table[static_cast<std::size_t>(quant)]
                                                           : static_cast<float>(quant - scaled.zero);
    to[i] = rounded(packing.rounded_to, scaled.scale * value);
  }
}

}  // namespace galago::checkpoint
