#include "runtime/sequence_cache.h"

#include <algorithm>

#include "base/fail.h"

namespace galago::runtime {

SequenceCache::SequenceCache(const Configuration& configuration, const model::Rope& rope,
                             const CopyPage& copy_page)
    : pool_(configuration.n_pages()), page_tokens_(configuration.page_tokens), rope_(rope) {
  for (std::int64_t i = 0; i < configuration.batch + kept_sequences; ++i) {
    slots_.push_back(std::make_unique<Slot>(pool_, configuration, copy_page));
  }
}

SequenceCache::Beginning SequenceCache::longest_beginning(const Wish& wish) const {
  Beginning best;
  const auto n_keys = static_cast<std::int64_t>(wish.keys.size());
  for (const auto& slot : slots_) {
    if (slot->sequence.length() == 0 || slot->adapter != wish.adapter) continue;
    // Those in work go on being turned for new lengths.
    if (slot->in_work && !rope_.long_frequencies.empty()) continue;
    if (!rope_.same_frequencies(slot->in_work ? slot->sequence.length() : slot->rope_length, n_keys))
      continue;
    const auto most = static_cast<std::size_t>(std::min(n_keys, wish.most_cached));
    std::int64_t length = slot->sequence.common_prefix(wish.keys.first(most));
    if (slot->in_work) length = std::min(length, slot->sequence.lendable());
    if (length > best.length) best = {slot.get(), length};
  }
  return best;
}

std::int64_t SequenceCache::cached_prefix(const Wish& wish) const {
  return longest_beginning(wish).length;
}

SequenceCache::Slot* SequenceCache::oldest_kept(const Slot* spared, Wanted wanted) const {
  Slot* oldest = nullptr;
  for (const auto& slot : slots_) {
    if (slot->in_work || slot.get() == spared) continue;
    if (wanted == Wanted::pages && slot->sequence.length() == 0) continue;
    const auto age = [](const Slot& s) { return s.sequence.length() == 0 ? 0 : s.last_use; };
    if (oldest == nullptr || age(*slot) < age(*oldest)) oldest = slot.get();
  }
  return oldest;
}

SequenceCache::Slot& SequenceCache::slot_of(const Sequence& sequence) const {
  return **std::find_if(slots_.begin(), slots_.end(),
                        [&](const auto& slot) { return &slot->sequence == &sequence; });
}

Sequence* SequenceCache::begin_work(Slot& slot, const Wish& wish) {
  slot.sequence.reserve(wish.n_tokens);
  slot.in_work = true;
  slot.last_use = ++n_uses_;
  slot.adapter = wish.adapter;
  return &slot.sequence;
}

Sequence* SequenceCache::admit(const Wish& wish) {
  const Beginning beginning = longest_beginning(wish);
  Slot* const origin = beginning.slot;
  // A conversation goes on in its own sequence; so do models whose frequencies change on the way, because
  // then all pages are computed anew, shared ones too.
  const bool goes_on =
      origin != nullptr && !origin->in_work &&
      (beginning.length + page_tokens_ > origin->sequence.length() || !rope_.long_frequencies.empty());
  Slot* const target = goes_on ? origin : oldest_kept(origin, Wanted::place);
  if (target == nullptr) fail(ErrorCode::internal, "more requests are in work than there are sequences");
  target->sequence.truncate(target == origin ? beginning.length : 0);
  if (origin != nullptr && target != origin) target->sequence.share(origin->sequence, beginning.length);
  while (target->sequence.pages_to_take(wish.n_tokens) > pool_.n_free()) {
    if (Slot* const oldest = oldest_kept(target, Wanted::pages)) {
      oldest->sequence.truncate(0);
      continue;
    }
    // What it shares with others stays theirs.
    if (target != origin) target->sequence.truncate(0);
    return nullptr;
  }
  return begin_work(*target, wish);
}

void SequenceCache::keep(Sequence& sequence) {
  Slot& slot = slot_of(sequence);
  sequence.truncate(sequence.length());  // what was reserved and not needed
  slot.in_work = false;
  slot.rope_length = sequence.length();
}

void SequenceCache::drop(Sequence& sequence) {
  sequence.truncate(0);
  slot_of(sequence).in_work = false;
}

void SequenceCache::clear() {
  for (const auto& slot : slots_) slot->sequence.truncate(0);
}

}  // namespace galago::runtime
