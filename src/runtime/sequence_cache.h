// The sequences that share a pool of KV pages: those in work, and those that are kept for their beginnings
// until their pages are needed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/plan/configuration.h"
#include "runtime/sequence.h"

namespace galago::runtime {

/// Sequences kept beside those in work; each costs its table, not its pages, which whoever needs them takes.
inline constexpr std::int64_t kept_sequences = 3;

class SequenceCache {
 public:
  SequenceCache(const Configuration& configuration, const model::Rope& rope, const CopyPage& copy_page);

  /// What a request needs.
  struct Wish {
    std::span<const ContentKey> keys;      ///< of its prompt
    std::int64_t n_tokens = 0;             ///< of prompt and answer
    std::int64_t most_cached = 0;          ///< positions that may be taken over
    std::optional<std::size_t> adapter{};  ///< cached keys and values of another adapter are of no use
  };

  /// The positions that could be taken over.
  std::int64_t cached_prefix(const Wish& wish) const;

  /// A sequence with all the pages that it will need, and as much of the beginning as is cached (its length).
  /// Null where too few pages are free as long as others are in work. It is in work until it is given back.
  Sequence* admit(const Wish& wish);
  /// The sequence's request is answered: its pages are kept for others until they are needed.
  void keep(Sequence& sequence);
  /// The sequence's request was given up: what is in its pages is not known.
  void drop(Sequence& sequence);
  /// All pages lost their contents; nothing is in work.
  void clear();

  std::int64_t n_free_pages() const { return pool_.n_free(); }

 private:
  struct Slot {
    Slot(memory::PagePool& pool, const Configuration& configuration, const CopyPage& copy_page)
        : sequence(pool, configuration.retention(), configuration.context, copy_page) {}
    Sequence sequence;
    bool in_work = false;
    std::uint64_t last_use = 0;
    std::int64_t rope_length = 0;  // that the keys were turned for
    std::optional<std::size_t> adapter;
  };
  struct Beginning {
    Slot* slot = nullptr;
    std::int64_t length = 0;
  };

  Beginning longest_beginning(const Wish& wish) const;
  enum class Wanted { place, pages };
  /// The kept slot, other than `spared`, that was used the longest time ago; null: there is none. Empty ones
  /// come first where a place is wanted, and are of no use for pages.
  Slot* oldest_kept(const Slot* spared, Wanted wanted) const;
  Slot& slot_of(const Sequence& sequence) const;
  Sequence* begin_work(Slot& slot, const Wish& wish);

  memory::PagePool pool_;
  std::int64_t page_tokens_;
  const model::Rope& rope_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::uint64_t n_uses_ = 0;
};

}  // namespace galago::runtime
