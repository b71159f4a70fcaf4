// UTF-8 read with care, and Unicode normalisation (utf8proc).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace galago::text {

enum class Utf8 { valid, invalid, cut_off };

/// The beginning of a string: one character, or the bytes that one U+FFFD stands for (a maximal subpart,
/// Unicode 3.9), or the beginning of a character whose rest is missing.
struct Utf8Head {
  Utf8 kind = Utf8::valid;
  std::size_t length = 0;  ///< at least 1
};

/// `text` must not be empty.
Utf8Head utf8_head(std::string_view text);
bool is_utf8(std::string_view text);
/// What is not UTF-8, an unfinished end included, replaced by U+FFFD.
std::string to_utf8(std::string_view text);
/// The bytes at the end that may be the beginning of a character.
std::size_t cut_off_bytes(std::string_view text);

char32_t code_point(std::string_view character);
void append_utf8(char32_t code_point, std::string& text);

bool is_space(char32_t code_point);
bool is_number(char32_t code_point);
bool is_word(char32_t code_point);

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };
/// Both want valid UTF-8.
std::string normalize_unicode(std::string_view text, UnicodeForm form);
std::string lowercase(std::string_view text);

void replace_all(std::string& text, std::string_view pattern, std::string_view content);

}  // namespace galago::text
