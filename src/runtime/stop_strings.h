// Watches a growing text for strings that end it, and says how much of it may be shown already.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace galago::runtime {

class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> strings);

  /// Appends a piece and returns what can be shown: text that no stop string can begin in any more.
  std::string append(std::string_view piece);
  /// Whether a stop string was found; the text ended before it.
  bool found() const { return found_; }
  /// At the end of the text: what was held back.
  std::string finish();

 private:
  std::vector<std::string> strings_;
  std::string held_;  // shown neither yet, nor ruled out
  bool found_ = false;
};

}  // namespace galago::runtime
