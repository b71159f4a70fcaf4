#include "text/unicode.h"

#include <utf8proc.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/fail.h"

namespace galago::text {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

unsigned byte_at(std::string_view text, std::size_t i) {
  return static_cast<unsigned char>(text[i]);
}

/// How many bytes a character with this first byte has; 0: none begins so.
std::size_t length_of(unsigned lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

/// Whether `second` may follow `lead`: no overlong form, surrogate, or value above U+10FFFF.
bool may_follow(unsigned lead, unsigned second) {
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  return second >= low && second <= high;
}

utf8proc_category_t category(char32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

}  // namespace

Utf8Head utf8_head(std::string_view text) {
  const unsigned lead = byte_at(text, 0);
  const std::size_t length = length_of(lead);
  if (length == 0) return {Utf8::invalid, 1};
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Utf8::cut_off, i};
    const unsigned byte = byte_at(text, i);
    if (i == 1 ? !may_follow(lead, byte) : (byte & 0xC0) != 0x80) return {Utf8::invalid, i};
  }
  return {Utf8::valid, length};
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Head head = utf8_head(text);
    if (head.kind != Utf8::valid) return false;
    text.remove_prefix(head.length);
  }
  return true;
}

std::string to_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const Utf8Head head = utf8_head(text);
    valid += head.kind == Utf8::valid ? text.substr(0, head.length) : replacement;
    text.remove_prefix(head.length);
  }
  return valid;
}

std::size_t cut_off_bytes(std::string_view text) {
  for (std::size_t n = 1; n < 4 && n <= text.size(); ++n) {
    const std::string_view tail = text.substr(text.size() - n);
    if (length_of(byte_at(tail, 0)) > 1) {
      const Utf8Head head = utf8_head(tail);
      return head.kind == Utf8::cut_off ? n : 0;
    }
  }
  return 0;
}

char32_t code_point(std::string_view character) {
  const unsigned lead = byte_at(character, 0);
  if (character.size() == 1) return lead;
  char32_t value = lead & (0xFFU >> (character.size() + 1));
  for (std::size_t i = 1; i < character.size(); ++i) value = value << 6 | (byte_at(character, i) & 0x3F);
  return value;
}

void append_utf8(char32_t value, std::string& text) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(value), bytes);
  for (utf8proc_ssize_t i = 0; i < length; ++i) text += static_cast<char>(bytes[i]);
}

bool is_space(char32_t value) {
  if ((value >= 9 && value <= 13) || value == 0x85) return true;
  const utf8proc_category_t kind = category(value);
  return kind == UTF8PROC_CATEGORY_ZS || kind == UTF8PROC_CATEGORY_ZL || kind == UTF8PROC_CATEGORY_ZP;
}

bool is_number(char32_t value) {
  const utf8proc_category_t kind = category(value);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO;
}

bool is_word(char32_t value) {
  const utf8proc_category_t kind = category(value);
  return (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_ME) || kind == UTF8PROC_CATEGORY_ND ||
         kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_PC;
}

std::string normalize_unicode(std::string_view text, UnicodeForm form) {
  const bool composed = form == UnicodeForm::nfc || form == UnicodeForm::nfkc;
  const bool compatible = form == UnicodeForm::nfkc || form == UnicodeForm::nfkd;
  const int options = UTF8PROC_STABLE | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                      (compatible ? UTF8PROC_COMPAT : 0);
  utf8proc_uint8_t* result = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                                   static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  if (length < 0) fail(ErrorCode::input, "a text cannot be normalised: {}", utf8proc_errmsg(length));
  return {reinterpret_cast<const char*>(result), static_cast<std::size_t>(length)};
}

std::string lowercase(std::string_view text) {
  std::string lower;
  lower.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = utf8_head(text).length;
    const char32_t value = code_point(text.substr(0, length));
    if (value == 0x130) {
      lower += "i\xCC\x87";  // the one character whose lower case is two (Unicode's SpecialCasing)
    } else {
      append_utf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(value))), lower);
    }
    text.remove_prefix(length);
  }
  return lower;
}

void replace_all(std::string& text, std::string_view pattern, std::string_view content) {
  if (pattern.empty()) return;
  std::string replaced;
  std::size_t from = 0;
  for (std::size_t at = text.find(pattern); at != std::string::npos; at = text.find(pattern, from)) {
    replaced.append(text, from, at - from).append(content);
    from = at + pattern.size();
  }
  if (from == 0) return;
  text = replaced.append(text, from);
}

}  // namespace galago::text
