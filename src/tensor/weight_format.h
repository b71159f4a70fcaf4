// What a weight matrix is in memory: plain numbers, or quants in groups that share a scale.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "tensor/dtype.h"

namespace galago {

/// What is added to scale * q.
enum class GroupOffset : std::uint8_t {
  none,        ///< w = scale * q, q from -8 to 7 (stored as 0 to 15) or from -128 to 127
  minimum,     ///< w = scale * q + minimum, q from 0 to 15 or from -128 to 127
  zero_point,  ///< w = scale * (q - zero), q from 0 to 15 or from -128 to 127, zero a whole number
};

/// What a quant of 4 bits stands for when it is no number itself: w = scale * codebook[q], no offset.
enum class Codebook : std::uint8_t { none, nf4, iq4_nl };

/// NF4: quantiles of a normal distribution (arXiv:2305.14314); IQ4_NL: GGUF's table.
const std::array<float, 16>& values_of(Codebook codebook);

/// Quants of 4 or 8 bits; `group` neighbours in a row share a scale (and a minimum or zero point).
///
/// A row is a record of its own, so rows can be joined, split and moved without touching others:
///
///     quants   chunks of 32, the last one filled up with zeros. 8 bits: signed bytes in order. 4 bits: 16
///              bytes, byte i of a chunk = element i in its low half, element 16 + i in its high half
///     scales   one a group, in `scale`
///     offsets  one a group: minima in `scale`, zero points as signed bytes
///     filling  up to a multiple of 16 bytes, so that each row's quants can be loaded by aligned vectors
///
/// The last group of a row is shorter where the columns are no multiple of `group`.
struct Grouped {
  std::uint8_t bits = 4;     ///< 4 or 8
  std::int32_t group = 32;   ///< 16, 32, 64 or 128
  DType scale = DType::f16;  ///< f16 or f32
  GroupOffset offset = GroupOffset::none;
  Codebook codebook = Codebook::none;

  friend constexpr bool operator==(const Grouped&, const Grouped&) = default;
};

inline constexpr std::int64_t quant_chunk = 32;

/// Where things lie within a row's record.
struct GroupedLayout {
  std::int64_t n_groups = 0;
  Bytes scales_at = 0;
  Bytes offsets_at = 0;
  Bytes row_bytes = 0;
};
GroupedLayout layout_of(const Grouped& grouped, std::int64_t cols);

class WeightFormat {
 public:
  constexpr WeightFormat() = default;
  constexpr WeightFormat(DType dtype)
      : dtype_(dtype) {}  // NOLINT(google-explicit-constructor): a plain
                          // format is its type
  constexpr WeightFormat(const Grouped& grouped) : grouped_(grouped) {}

  constexpr bool is_grouped() const { return grouped_.has_value(); }
  constexpr const Grouped& grouped() const { return *grouped_; }  ///< only where is_grouped()
  constexpr DType dtype() const { return dtype_; }                ///< only where not

  Bytes row_bytes(std::int64_t cols) const;
  /// Scales and offsets included, filling left out.
  double bits_per_weight() const;

  friend constexpr bool operator==(const WeightFormat&, const WeightFormat&) = default;

 private:
  DType dtype_ = DType::f32;
  std::optional<Grouped> grouped_;
};

/// "fp16", or "int4 in groups of 32 with minima" and the like.
std::string describe(const WeightFormat& format);

}  // namespace galago
