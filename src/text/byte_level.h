// GPT-2's table: every byte as a printable character, so that a vocabulary of bytes can be written as text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace galago::text {

std::string bytes_to_characters(std::string_view bytes);
/// Absent where a character stands for no byte.
std::optional<std::string> characters_to_bytes(std::string_view characters);

}  // namespace galago::text
