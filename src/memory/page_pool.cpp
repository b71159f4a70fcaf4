#include "memory/page_pool.h"

#include "base/fail.h"

namespace galago::memory {

PagePool::PagePool(std::int64_t n_pages) : owners_(static_cast<std::size_t>(n_pages)) {
  free_.reserve(owners_.size());
  for (std::int64_t page = n_pages - 1; page >= 0; --page) free_.push_back(static_cast<PageId>(page));
}

PageId PagePool::take() {
  if (free_.empty())
    fail(ErrorCode::memory, "all {} KV pages are in use; ask for a larger --context", n_pages());
  const PageId page = free_.back();
  free_.pop_back();
  owners_[static_cast<std::size_t>(page)] = 1;
  return page;
}

void PagePool::retain(PageId page) {
  ++owners_[static_cast<std::size_t>(page)];
}

void PagePool::release(PageId page) {
  if (--owners_[static_cast<std::size_t>(page)] == 0) free_.push_back(page);
}

}  // namespace galago::memory
