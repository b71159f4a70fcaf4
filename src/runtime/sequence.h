// One conversation's place in the KV cache: its page table, and what each cached position holds.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "memory/page_pool.h"
#include "runtime/plan/kv_retention.h"

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
  Sequence(memory::PagePool& pool, const KvRetention& retention, std::int64_t max_tokens, CopyPage copy_page);
  ~Sequence();
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  std::int64_t length() const { return static_cast<std::int64_t>(keys_.size()); }
  /// The pages that the sequence has, in the order of their positions, then those that it reserved.
  std::span<const memory::PageId> pages() const { return pages_; }
  /// Positions, a whole number of pages behind the sinks', whose pages were given back.
  std::int64_t given_back() const { return given_back_; }

  /// Becomes the first `length` positions of another sequence, which could go on from there and lends so many
  /// (lendable()). Both have its pages from now on. This one is empty.
  void share(const Sequence& other, std::int64_t length);
  /// How many pages reserve() would take.
  std::int64_t pages_to_take(std::int64_t n_tokens) const;
  /// Takes the pages that `n_tokens` positions need and this sequence has not for itself. With a window,
  /// pages that no query will see again are used anew.
  void reserve(std::int64_t n_tokens);
  /// Appends positions, at most KvRetention::most_rows, taking the pages that were not reserved. Pages that
  /// neither they nor later ones see are given back.
  void append(std::span<const ContentKey> keys);
  /// Forgets all positions from `length` on, from where the sequence could go on, and gives back pages that
  /// are not needed any more, reserved ones too.
  void truncate(std::int64_t length);
  /// How many positions from the beginning hold what `keys` says, as far as the sequence could go on behind
  /// them: all that the next query sees must still be there.
  std::int64_t common_prefix(std::span<const ContentKey> keys) const;
  /// How many positions from the beginning another sequence may share while this one is in work: one that is
  /// going to use its pages anew keeps all but the sinks' to itself.
  std::int64_t lendable() const;

 private:
  /// The positions of the sinks' pages.
  std::int64_t sink_tokens() const { return retention_.sink_pages() * retention_.page_tokens; }
  /// Of `length` positions, those that have a place in the page table.
  std::int64_t places(std::int64_t length) const {
    return length > sink_tokens() ? length - given_back_ : length;
  }
  std::int64_t n_pages() const { return static_cast<std::int64_t>(pages_.size()); }
  bool is_shared(std::int64_t page) const {
    return pool_.n_owners(pages_[static_cast<std::size_t>(page)]) > 1;
  }
  /// The page that the next position is written to.
  std::int64_t next_page() const { return places(length()) / retention_.page_tokens; }
  /// Whether it belongs to others too.
  bool next_page_is_shared() const { return next_page() < n_pages() && is_shared(next_page()); }
  /// Pages that are lacking for `n_tokens` positions, if the next one's is this sequence's own.
  std::int64_t lacking_pages(std::int64_t n_tokens) const;
  void give_back_unseen();
  void release_last();

  memory::PagePool& pool_;
  KvRetention retention_;
  CopyPage copy_page_;
  std::int64_t reserved_ = 0;    // positions that pages are there for, or will be by using them anew
  std::int64_t given_back_ = 0;  // positions
  std::vector<memory::PageId> pages_;
  std::vector<ContentKey> keys_;
};

}  // namespace galago::runtime
