#include "runtime/sequence.h"

#include <algorithm>
#include <utility>

namespace galago::runtime {

Sequence::Sequence(memory::PagePool& pool, std::int64_t page_tokens, std::int64_t max_tokens,
                   CopyPage copy_page)
    : pool_(pool), page_tokens_(page_tokens), copy_page_(std::move(copy_page)) {
  keys_.reserve(static_cast<std::size_t>(max_tokens));
  pages_.reserve(static_cast<std::size_t>(pages_for(max_tokens)));
}

Sequence::~Sequence() {
  truncate(0);
}

void Sequence::share(const Sequence& other, std::int64_t length) {
  const auto n_pages = static_cast<std::ptrdiff_t>(pages_for(length));
  for (const memory::PageId page : std::span(other.pages_).first(static_cast<std::size_t>(n_pages))) {
    pool_.retain(page);
    pages_.push_back(page);
  }
  keys_.assign(other.keys_.begin(), other.keys_.begin() + length);
}

bool Sequence::next_page_is_shared() const {
  const auto next = static_cast<std::size_t>(length() / page_tokens_);
  return next < pages_.size() && pool_.n_owners(pages_[next]) > 1;
}

std::int64_t Sequence::pages_to_take(std::int64_t n_tokens) const {
  const std::int64_t needed = pages_for(n_tokens);
  const std::int64_t lacking = std::max<std::int64_t>(needed - static_cast<std::int64_t>(pages_.size()), 0);
  return lacking + (n_tokens > length() && next_page_is_shared() ? 1 : 0);
}

void Sequence::reserve(std::int64_t n_tokens) {
  if (n_tokens > length() && next_page_is_shared()) {
    memory::PageId& page = pages_[static_cast<std::size_t>(length() / page_tokens_)];
    const memory::PageId own = pool_.take();
    if (length() % page_tokens_ > 0) copy_page_(page, own);
    pool_.release(page);
    page = own;
  }
  while (static_cast<std::int64_t>(pages_.size()) * page_tokens_ < n_tokens) pages_.push_back(pool_.take());
}

void Sequence::append(std::span<const ContentKey> keys) {
  reserve(length() + static_cast<std::int64_t>(keys.size()));
  keys_.insert(keys_.end(), keys.begin(), keys.end());
}

void Sequence::truncate(std::int64_t length) {
  keys_.resize(static_cast<std::size_t>(length));
  const auto needed = static_cast<std::size_t>(pages_for(length));
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
