// GGUF's blocks as grouped rows, without loss. A group's scale and minimum in FP32 hold the products that
// K-quants keep in two parts; quants of 5 and 6 bits are kept in 8 (docs/formats.md).
#pragma once

#include <cstddef>
#include <span>

#include "tensor/blocks.h"
#include "tensor/weight_format.h"

namespace galago {

/// The smallest grouped format that holds every value of such blocks exactly.
Grouped groups_of(BlockType type);

/// A row of `cols` weights, which fill whole blocks, as a record of groups_of(type); `from` needs no
/// alignment.
void group_blocks(BlockType type, std::span<const std::byte> from, std::int64_t cols,
                  std::span<std::byte> to);

}  // namespace galago
