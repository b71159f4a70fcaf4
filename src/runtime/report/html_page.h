// What pages with charts have in common: they need nothing else, and are readable in light and dark.
#pragma once

#include <string>
#include <string_view>

namespace galago::runtime {

/// The text with what means something to HTML replaced.
std::string html_escaped(std::string_view text);

/// A whole page around `body`, with the classes "bar" and "second" for colours and "warn" for text.
std::string html_page(std::string_view title, std::string_view body);

}  // namespace galago::runtime
