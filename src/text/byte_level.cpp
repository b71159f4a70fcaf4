#include "text/byte_level.h"

#include <array>
#include <cstddef>

#include "text/unicode.h"

namespace galago::text {
namespace {

struct ByteTable {
  std::array<std::string, 256> characters;
  std::array<int, 0x144> bytes{};  ///< by code point; -1: none

  ByteTable() {
    bytes.fill(-1);
    char32_t next = 0x100;  // for those without a visible character of their own
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const char32_t character = visible ? static_cast<char32_t>(byte) : next++;
      append_utf8(character, characters[byte]);
      bytes[character] = static_cast<int>(byte);
    }
  }
};

const ByteTable& table() {
  static const ByteTable built;
  return built;
}

}  // namespace

std::string bytes_to_characters(std::string_view bytes) {
  std::string characters;
  for (const char byte : bytes) characters += table().characters[static_cast<unsigned char>(byte)];
  return characters;
}

std::optional<std::string> characters_to_bytes(std::string_view characters) {
  std::string bytes;
  while (!characters.empty()) {
    const Utf8Head head = utf8_head(characters);
    if (head.kind != Utf8::valid) return std::nullopt;
    const char32_t character = code_point(characters.substr(0, head.length));
    if (character >= table().bytes.size() || table().bytes[character] < 0) return std::nullopt;
    bytes += static_cast<char>(table().bytes[character]);
    characters.remove_prefix(head.length);
  }
  return bytes;
}

}  // namespace galago::text
