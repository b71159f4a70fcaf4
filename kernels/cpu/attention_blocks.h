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

/// A query sees the positions [0, sinks) and [from, to), which do not meet.
struct Sight {
  std::int64_t sinks, from, to;
};

GALAGO_INLINE Sight sight_of(const Attention& op, std::int64_t index) {
  const std::int64_t to = op.first_limit + row_of(op, index) * op.limit_step;
  const std::int64_t from = op.window > 0 && to > op.window ? to - op.window : 0;
  return {op.sinks < from ? op.sinks : from, from, to};
}

/// What is seen of a block, by place in it: those below `sinks`, and those from `hidden` on and below
/// `visible`.
struct Seen {
  std::int64_t sinks, hidden, visible;

  bool nothing() const { return sinks == 0 && visible <= hidden; }
};

/// Of the `count` positions from `position` on.
GALAGO_INLINE Seen seen_of(const Sight& sight, std::int64_t position, std::int64_t count) {
  const auto within = [position, count](std::int64_t at) {
    const std::int64_t n = at - position;
    return n < 0 ? 0 : (n > count ? count : n);
  };
  return {within(sight.sinks), within(sight.from), within(sight.to)};
}

/// The first position from `position` on that a query sees, or a later one with a window that begins no
/// earlier. The end where it sees none.
GALAGO_INLINE std::int64_t next_seen(const Sight& sight, std::int64_t position) {
  return position < sight.sinks || position >= sight.from ? position : sight.from;
}

}  // namespace galago::kernels::GALAGO_ISA
