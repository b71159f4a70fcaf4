// The free list of KV pages. Pages are counted, so that one can belong to several sequences with the same
// beginning.
#pragma once

#include <cstdint>
#include <vector>

namespace galago::memory {

using PageId = std::int32_t;

class PagePool {
 public:
  explicit PagePool(std::int64_t n_pages);

  /// A page with one owner. Throws Error{memory} with the numbers when none is free.
  PageId take();
  /// One more owner of a page that is in use.
  void retain(PageId page);
  /// One owner less; without any the page is free again.
  void release(PageId page);

  std::int32_t n_owners(PageId page) const { return owners_[static_cast<std::size_t>(page)]; }
  std::int64_t n_free() const { return static_cast<std::int64_t>(free_.size()); }
  std::int64_t n_pages() const { return static_cast<std::int64_t>(owners_.size()); }

 private:
  std::vector<PageId> free_;          // the next to be taken is the last
  std::vector<std::int32_t> owners_;  // [n_pages]
};

}  // namespace galago::memory
