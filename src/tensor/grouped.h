// Grouped rows: made from FP32 or quant by quant, and read back. Plain scalar code, for loading and tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tensor/weight_format.h"

namespace galago {

/// One row's record under construction; `bytes` is exactly its row_bytes and is cleared first.
class GroupedRow {
 public:
  GroupedRow(const Grouped& format, std::int64_t cols, std::span<std::byte> bytes);

  /// The quant of an element in the range that GroupOffset gives; with a codebook the index into it.
  void put_quant(std::int64_t element, int quant);
  /// Those of neighbouring elements.
  void put_quants(std::int64_t first, std::span<const std::int8_t> quants);
  /// 32 quants at once, as the record stores them: 16 bytes of 4 bits or 32 of 8.
  void put_chunk(std::int64_t chunk, std::span<const std::byte> quants);
  void put_scale(std::int64_t group, float scale);
  void put_minimum(std::int64_t group, float minimum);
  void put_zero(std::int64_t group, int zero);

 private:
  void put_number(Bytes at, std::int64_t group, float value);

  Grouped format_;
  GroupedLayout layout_;
  std::span<std::byte> bytes_;
};

/// Rounds a row to the nearest quants, its scales chosen by the largest values of each group. Formats without
/// codebook or zero points, which we do not make ourselves. False where a group cannot be held: its values
/// are not finite, or too large for the scale's type.
bool encode_row(const Grouped& format, std::span<const float> row, std::span<std::byte> to);

/// The values of a record.
void decode_row(const Grouped& format, std::span<const std::byte> from, std::span<float> row);

/// The smallest format that holds rows of both without loss; none if there is none.
std::optional<Grouped> join(const Grouped& a, const Grouped& b);

/// A row's record in another format that join() gave for it.
void convert_row(const Grouped& from_format, std::span<const std::byte> from, const Grouped& to_format,
                 std::int64_t cols, std::span<std::byte> to);

}  // namespace galago
