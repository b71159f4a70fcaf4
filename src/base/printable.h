// Foreign text made fit for an error sentence.
#pragma once

#include <string>
#include <string_view>

namespace galago {

/// `text` with control characters and bytes outside ASCII shown as '?', cut after 120 characters: a name
/// taken from a hostile file must neither flood nor steer a terminal.
inline std::string printable(std::string_view text) {
  constexpr std::size_t longest = 120;
  std::string shown;
  for (char c : text.substr(0, longest)) shown += (c >= ' ' && c <= '~') ? c : '?';
  if (text.size() > longest) shown += "...";
  return shown;
}

}  // namespace galago
