// Sizes of memory as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace galago::cli {

/// "8GiB", "500MB", "1.5GiB", "8G" (binary), "1000" (bytes). Throws Error{usage} for anything else.
std::uint64_t parse_size(std::string_view text);

/// "1.50 GiB".
std::string size_text(std::uint64_t bytes);

}  // namespace galago::cli
