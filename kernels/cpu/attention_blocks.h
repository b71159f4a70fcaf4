// Where the keys and values of a position lie, and which positions a query sees.
#pragma once

#include "kernels/cpu/simd.h"

namespace galago::kernels::GALAGO_ISA {

void decode(const GroupedRows& format, const void* row, float* to, std::int64_t n);

/// The block that begins at `position`, of at most `left` positions.
GALAGO_INLINE KeyValues block_at(const Attention& op, std::int64_t position, std::int64_t left) {
  KeyValues block = op.blocks;
  const std::int64_t index = position / op.blocks.count;
  const std::int64_t element_bytes = block.element == Element::f32 ? 4 : 2;
  const std::int64_t offset =
      op.pages != nullptr ? op.pages[index] * op.page_stride : position * block.stride * element_bytes;
  block.keys = static_cast<const char*>(block.keys) + offset;
  block.values = static_cast<const char*>(block.values) + offset;
  block.count = left < block.count ? left : block.count;
  return block;
}

/// Query number `index` of the rows asked for: rows first, heads of the group within them.
GALAGO_INLINE std::int64_t row_of(const Attention& op, std::int64_t index) {
  return op.first_row + index / op.group;
}
GALAGO_INLINE const float* query_at(const Attention& op, std::int64_t index) {
  return op.q + row_of(op, index) * op.q_stride + index % op.group * op.head_size;
}
GALAGO_INLINE float* out_at(const Attention& op, std::int64_t index) {
  return op.out + row_of(op, index) * op.out_stride + index % op.group * op.head_size;
}

/// Query `index` sees the positions [seen_from, seen_to).
GALAGO_INLINE std::int64_t seen_to(const Attention& op, std::int64_t index) {
  return op.first_limit + row_of(op, index) * op.limit_step;
}
GALAGO_INLINE std::int64_t seen_from(const Attention& op, std::int64_t index) {
  const std::int64_t end = seen_to(op, index);
  return op.window > 0 && end > op.window ? end - op.window : 0;
}

}  // namespace galago::kernels::GALAGO_ISA
