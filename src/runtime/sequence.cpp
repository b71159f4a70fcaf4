#include "runtime/sequence.h"

#include <algorithm>

namespace galago::runtime {

Sequence::Sequence(memory::PagePool& pool, std::int64_t page_tokens, std::int64_t max_tokens)
    : pool_(pool), page_tokens_(page_tokens) {
  keys_.reserve(static_cast<std::size_t>(max_tokens));
  pages_.reserve(static_cast<std::size_t>((max_tokens + page_tokens - 1) / page_tokens));
}

Sequence::~Sequence() {
  truncate(0);
}

void Sequence::append(std::span<const ContentKey> keys) {
  const auto length = static_cast<std::int64_t>(keys_.size() + keys.size());
  while (static_cast<std::int64_t>(pages_.size()) * page_tokens_ < length) pages_.push_back(pool_.take());
  keys_.insert(keys_.end(), keys.begin(), keys.end());
}

void Sequence::truncate(std::int64_t length) {
  keys_.resize(static_cast<std::size_t>(length));
  const auto needed = static_cast<std::size_t>((length + page_tokens_ - 1) / page_tokens_);
  while (pages_.size() > needed) {
    pool_.release(pages_.back());
    pages_.pop_back();
  }
}

std::int64_t Sequence::common_prefix(std::span<const ContentKey> keys) const {
  const auto n = std::min(keys.size(), keys_.size());
  const auto mismatch =
      std::mismatch(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(n), keys_.begin());
  return mismatch.first - keys.begin();
}

}  // namespace galago::runtime
