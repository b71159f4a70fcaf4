// One conversation's place in the KV cache: its page table, and what each cached position holds.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "memory/page_pool.h"

namespace galago::runtime {

/// Says what stands at a position: a token id, or a picture's content and the row within it. Equal keys from
/// the beginning on mean equal keys and values.
using ContentKey = std::uint64_t;

class Sequence {
 public:
  /// Room for `max_tokens`; nothing is allocated afterwards. `pool` outlives the sequence.
  Sequence(memory::PagePool& pool, std::int64_t page_tokens, std::int64_t max_tokens);
  ~Sequence();
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  std::int64_t length() const { return static_cast<std::int64_t>(keys_.size()); }
  std::span<const memory::PageId> pages() const { return pages_; }

  /// Appends positions, taking the pages they need.
  void append(std::span<const ContentKey> keys);
  /// Forgets all positions from `length` on and gives back pages that are not needed any more.
  void truncate(std::int64_t length);
  /// How many positions from the beginning hold what `keys` says.
  std::int64_t common_prefix(std::span<const ContentKey> keys) const;

 private:
  memory::PagePool& pool_;
  std::int64_t page_tokens_;
  std::vector<memory::PageId> pages_;
  std::vector<ContentKey> keys_;
};

}  // namespace galago::runtime
