// How many of a sequence's pages must be there at once.
#pragma once

#include <algorithm>
#include <cstdint>

namespace galago::runtime {

/// With a window, pages whose positions no query will see again are given back as the sequence grows: all but
/// those of the sinks and those that the next step's queries may see.
struct KvRetention {
  std::int64_t page_tokens = 16;
  std::int64_t window = 0;     ///< positions that a query sees, its own included; 0: all, so all are kept
  std::int64_t sinks = 0;      ///< first positions, which it sees beside its window
  std::int64_t most_rows = 1;  ///< positions that one step appends at most

  std::int64_t pages_for(std::int64_t n_tokens) const { return (n_tokens + page_tokens - 1) / page_tokens; }
  std::int64_t sink_pages() const { return pages_for(sinks); }

  /// Pages that a sequence of `n_tokens` has at once, at most: the sinks', and those that a step's rows and
  /// what its first row sees before itself touch, wherever in a page they begin.
  std::int64_t most_pages(std::int64_t n_tokens) const {
    const std::int64_t all = pages_for(n_tokens);
    if (window == 0) return all;
    const std::int64_t run = window - 1 + most_rows;
    return std::min(all, sink_pages() + 1 + pages_for(run - 1));
  }
};

}  // namespace galago::runtime
