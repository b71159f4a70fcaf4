// The normalizer of a tokenizer: what is done to text before it is split.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/regex.h"
#include "text/unicode.h"

namespace galago::text {

struct PrependText {
  std::string text;
};
struct ReplaceText {
  std::variant<std::string, Regex> pattern;
  std::string content;
};
struct Lowercase {};
/// SentencePiece's own, without a table of characters.
struct SentencePieceSpaces {
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = false;
  bool escape_whitespaces = true;
  bool prefix_at_start_only = false;  ///< "legacy": false: none after a special token
};
using NormalizeStep = std::variant<PrependText, ReplaceText, UnicodeForm, Lowercase, SentencePieceSpaces>;

/// Where a stretch of text stands in what is tokenized.
enum class Place { start, after_token };

std::string normalize(const std::vector<NormalizeStep>& steps, std::string text, Place place);

}  // namespace galago::text
