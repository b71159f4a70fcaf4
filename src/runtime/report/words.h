// How reports write numbers.
#pragma once

#include <cstdint>
#include <string>

namespace galago::runtime {

/// "12.30 ms", "1.250 s"
std::string time_text(double seconds);

/// "512.0 MiB"
std::string mebibytes_text(std::uint64_t bytes);

}  // namespace galago::runtime
