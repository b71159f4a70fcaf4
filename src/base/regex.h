// Regular expressions out of foreign files: PCRE2 with Unicode properties and limits on the work of a match.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace galago {

struct Range {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Compiled once, used by any number of threads.
class Regex {
 public:
  /// Throws ErrorCode::model naming `file`, the place in the pattern and the reason.
  Regex(std::string_view pattern, std::string_view file);

  /// All matches from left to right, empty ones left out. `text` must be UTF-8. Throws ErrorCode::input where
  /// a match takes more steps than is reasonable.
  std::vector<Range> matches(std::string_view text) const;

 private:
  std::shared_ptr<const void> code_;  // a pcre2_code; its header stays out of ours
};

}  // namespace galago
