// Where the keys and values of a position lie, and which positions a query sees.
#pragma once

#include "kernels/cpu/element_types.h"
#include "kernels/cpu/simd.h"

#if !defined(GALAGO_BASE_ISA)
#define GALAGO_BASE_ISA GALAGO_ISA
#endif

namespace galago::kernels::GALAGO_BASE_ISA {
void decode(const GroupedRows& format, const void* row, float* to, std::int64_t n);
void attention(const Attention& op, float* scratch);
}  // namespace galago::kernels::GALAGO_BASE_ISA

namespace galago::kernels::GALAGO_ISA {

using GALAGO_BASE_ISA::decode;

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

/// Calls take(Type, key, value, t) for the positions [position, position + count) as t = 0, 1, ...; they may
/// lie in several pages. Grouped ones come decoded.
template <class Take>
void for_positions(const Attention& op, std::int64_t position, std::int64_t count, Take&& take) {
  const auto visit = [&take](auto type, const KeyValues& run, std::int64_t within, std::int64_t t) {
    using Storage = typename decltype(type)::Storage;
    const auto* keys = static_cast<const Storage*>(run.keys);
    const auto* values = static_cast<const Storage*>(run.values);
    for (std::int64_t i = within; i < run.count; ++i, ++t) {
      take(type, keys + i * run.stride, values + i * run.stride, t);
    }
  };
  for (std::int64_t t = 0; t < count;) {
    const std::int64_t within = (position + t) % op.blocks.count;
    const KeyValues run = block_at(op, position + t - within, within + count - t);
    if (run.grouped != nullptr) {
      float key[max_head_size];
      float value[max_head_size];
      for (std::int64_t i = within; i < run.count; ++i) {
        const std::int64_t at = i * run.grouped->row_bytes;
        decode(*run.grouped, static_cast<const char*>(run.keys) + at, key, op.head_size);
        decode(*run.grouped, static_cast<const char*>(run.values) + at, value, op.head_size);
        take(F32{}, &key[0], &value[0], t + i - within);
      }
    } else if (run.element == Element::f32) {
      visit(F32{}, run, within, t);
    } else {
      visit(F16{}, run, within, t);
    }
    t += run.count - within;
  }
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
