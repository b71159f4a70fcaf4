#include "runtime/sequence.h"

#include <algorithm>
#include <utility>

namespace galago::runtime {

Sequence::Sequence(memory::PagePool& pool, const KvRetention& retention, std::int64_t max_tokens,
                   CopyPage copy_page)
    : pool_(pool), retention_(retention), copy_page_(std::move(copy_page)) {
  keys_.reserve(static_cast<std::size_t>(max_tokens));
  pages_.reserve(static_cast<std::size_t>(std::min(retention.pages_for(max_tokens), pool.n_pages())));
}

Sequence::~Sequence() {
  truncate(0);
}

void Sequence::share(const Sequence& other, std::int64_t length) {
  given_back_ = length > sink_tokens() ? other.given_back_ : 0;
  const std::int64_t n_shared = retention_.pages_for(places(length));
  for (const memory::PageId page : std::span(other.pages_).first(static_cast<std::size_t>(n_shared))) {
    pool_.retain(page);
    pages_.push_back(page);
  }
  keys_.assign(other.keys_.begin(), other.keys_.begin() + length);
  reserved_ = length;
}

std::int64_t Sequence::lacking_pages(std::int64_t n_tokens) const {
  const std::int64_t needed = retention_.pages_for(places(n_tokens));
  const std::int64_t lacking = std::max<std::int64_t>(needed - n_pages(), 0);
  const std::int64_t most = retention_.most_pages(n_tokens);
  if (needed <= most) return lacking;
  // Pages are used anew. Those that others have too are given up on the way, so as many as are needed at once
  // must be this sequence's own; but the sinks', which stay.
  const std::int64_t n_sinks = retention_.sink_pages();
  std::int64_t own = 0;
  for (std::int64_t page = n_sinks; page < n_pages(); ++page) {
    if (!is_shared(page) || page == next_page()) ++own;
  }
  const std::int64_t lacking_sinks = std::max<std::int64_t>(n_sinks - n_pages(), 0);
  return std::min(lacking, lacking_sinks + std::max<std::int64_t>(most - n_sinks - own, 0));
}

std::int64_t Sequence::pages_to_take(std::int64_t n_tokens) const {
  return lacking_pages(n_tokens) + (n_tokens > length() && next_page_is_shared() ? 1 : 0);
}

void Sequence::reserve(std::int64_t n_tokens) {
  if (n_tokens > length() && next_page_is_shared()) {
    memory::PageId& page = pages_[static_cast<std::size_t>(next_page())];
    const memory::PageId own = pool_.take();
    if (length() % retention_.page_tokens > 0) copy_page_(page, own);
    pool_.release(page);
    page = own;
  }
  for (std::int64_t lacking = lacking_pages(n_tokens); lacking > 0; --lacking) pages_.push_back(pool_.take());
  reserved_ = std::max(reserved_, n_tokens);
}

void Sequence::append(std::span<const ContentKey> keys) {
  give_back_unseen();
  reserve(std::max(reserved_, length() + static_cast<std::int64_t>(keys.size())));
  keys_.insert(keys_.end(), keys.begin(), keys.end());
}

void Sequence::give_back_unseen() {
  if (retention_.window == 0) return;
  const std::int64_t first_seen = length() + 1 - retention_.window;
  const std::int64_t first_kept = sink_tokens() + given_back_;
  const std::int64_t n_unseen = (first_seen - first_kept) / retention_.page_tokens;
  if (n_unseen <= 0) return;
  given_back_ += n_unseen * retention_.page_tokens;
  const auto begin = pages_.begin() + retention_.sink_pages();
  std::rotate(begin, begin + n_unseen, pages_.end());
  // What is its own can be used anew.
  const auto shared = std::partition(pages_.end() - n_unseen, pages_.end(),
                                     [&](memory::PageId page) { return pool_.n_owners(page) == 1; });
  for (std::int64_t left = pages_.end() - shared; left > 0; --left) release_last();
  const std::int64_t needed =
      std::min(retention_.most_pages(reserved_), retention_.pages_for(places(reserved_)));
  while (n_pages() > needed) release_last();
}

void Sequence::release_last() {
  pool_.release(pages_.back());
  pages_.pop_back();
}

void Sequence::truncate(std::int64_t length) {
  keys_.resize(static_cast<std::size_t>(length));
  if (length <= sink_tokens()) given_back_ = 0;
  const std::int64_t needed = retention_.pages_for(places(length));
  while (n_pages() > needed) release_last();
  reserved_ = length;
}

std::int64_t Sequence::common_prefix(std::span<const ContentKey> keys) const {
  const auto n = std::min(keys.size(), keys_.size());
  const auto mismatch =
      std::mismatch(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(n), keys_.begin());
  const std::int64_t common = mismatch.first - keys.begin();
  const bool goes_on = given_back_ == 0 || common + 1 - retention_.window >= sink_tokens() + given_back_;
  return goes_on ? common : std::min(common, sink_tokens());
}

std::int64_t Sequence::lendable() const {
  const bool uses_anew = retention_.pages_for(places(reserved_)) > n_pages();
  return uses_anew ? std::min(length(), sink_tokens()) : length();
}

}  // namespace galago::runtime
