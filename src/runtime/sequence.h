// One conversation's place in the KV cache: its page table, and what each cached position holds.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "memory/page_pool.h"

namespace galago::runtime {

/// Says what stands at a position: a token id, or a picture's content and the row within it. Equal keys from
/// the beginning on mean equal keys and values.
using ContentKey = std::uint64_t;

/// Copies a page's keys and values to another page.
using CopyPage = std::function<void(memory::PageId from, memory::PageId to)>;

class Sequence {
 public:
  /// Room for `max_tokens`; nothing is allocated afterwards. `pool` outlives the sequence; `copy_page` is
  /// called before a page is written to that others have too.
  Sequence(memory::PagePool& pool, std::int64_t page_tokens, std::int64_t max_tokens, CopyPage copy_page);
  ~Sequence();
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  std::int64_t length() const { return static_cast<std::int64_t>(keys_.size()); }
  std::span<const memory::PageId> pages() const { return pages_; }

  /// Becomes the first `length` positions of another sequence, whose pages both have from now on. This one is
  /// empty.
  void share(const Sequence& other, std::int64_t length);
  /// How many pages reserve() would take.
  std::int64_t pages_to_take(std::int64_t n_tokens) const;
  /// Takes the pages that `n_tokens` positions need and this sequence has not for itself.
  void reserve(std::int64_t n_tokens);
  /// Appends positions, taking the pages that were not reserved.
  void append(std::span<const ContentKey> keys);
  /// Forgets all positions from `length` on and gives back pages that are not needed any more, reserved ones
  /// too.
  void truncate(std::int64_t length);
  /// How many positions from the beginning hold what `keys` says.
  std::int64_t common_prefix(std::span<const ContentKey> keys) const;

 private:
  std::int64_t pages_for(std::int64_t n_tokens) const { return (n_tokens + page_tokens_ - 1) / page_tokens_; }
  /// Whether the page that the next position is written to belongs to others too.
  bool next_page_is_shared() const;

  memory::PagePool& pool_;
  std::int64_t page_tokens_;
  CopyPage copy_page_;
  std::vector<memory::PageId> pages_;
  std::vector<ContentKey> keys_;
};

}  // namespace galago::runtime
