// The sections of program files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace galago {

/// Bytes of the section `name` of a 64-bit ELF file (System V ABI, chapter 4); 0 where it has none, or is
/// another kind of file.
std::uint64_t section_bytes(const std::filesystem::path& file, std::string_view name);

}  // namespace galago
