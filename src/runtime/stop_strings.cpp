#include "runtime/stop_strings.h"

#include <algorithm>
#include <utility>

namespace galago::runtime {
namespace {

/// Bytes at the end of `text` that could be the beginning of `stop`.
std::size_t possible_beginning(std::string_view text, std::string_view stop) {
  for (std::size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == stop.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  std::erase_if(strings_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopStrings::append(std::string_view piece) {
  held_ += piece;
  std::size_t end = std::string::npos;
  for (const std::string& stop : strings_) end = std::min(end, held_.find(stop));
  if (end != std::string::npos) {
    found_ = true;
    std::string shown = held_.substr(0, end);
    held_.clear();
    return shown;
  }
  std::size_t keep = 0;
  for (const std::string& stop : strings_) keep = std::max(keep, possible_beginning(held_, stop));
  std::string shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopStrings::finish() {
  return std::exchange(held_, {});
}

}  // namespace galago::runtime
