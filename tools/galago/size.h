// Sizes of memory and pictures as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "galago/options.h"

namespace galago::cli {

/// "8GiB", "500MB", "1.5GiB", "8G" (binary), "1000" (bytes). Throws Error{usage} for anything else, which
/// names the option.
std::uint64_t parse_size(std::string_view text, std::string_view option);

/// "1344x672". Throws Error{usage} for anything else.
PictureSize parse_picture_size(const std::string& text);

/// "1.50 GiB".
std::string size_text(std::uint64_t bytes);

}  // namespace galago::cli
