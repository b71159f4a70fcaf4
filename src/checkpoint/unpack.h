// Rows of a packed matrix, from the bytes of its parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "checkpoint/packing.h"

namespace galago::checkpoint {

/// The bytes of Packing::parts, each whole, in their order.
using PartBytes = std::span<const std::span<const std::byte>>;

/// Row `row` of `cols` columns as a record of packing.format, which is grouped.
void unpack_record(const Packing& packing, PartBytes parts, std::int64_t row, std::int64_t cols,
                   std::span<std::byte> to);

/// The row's values, whatever the format.
void unpack_values(const Packing& packing, PartBytes parts, std::int64_t row, std::span<float> to);

}  // namespace galago::checkpoint
