// How the pre-tokenizers that GGUF files name (tokenizer.ggml.pre) split a text into words.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizer.h"

namespace galago::text {

struct GgufPreTokenizer {
  std::string_view name;
  /// One after the other: what matches and what lies between is split further by the next.
  std::span<const std::string_view> patterns;
  bool ignore_merges = false;
  bool add_bos = false;  ///< where the file does not say
};

/// An empty name is "default". Throws ErrorCode::model naming `file` and the known names.
const GgufPreTokenizer& gguf_pre_tokenizer(std::string_view name, std::string_view file);

/// The name of the one that splits by exactly these expressions.
std::optional<std::string> gguf_pre_tokenizer_of(std::span<const std::string> patterns);

/// The expression that "ByteLevel" of tokenizer.json splits by.
std::string gguf_words_of_byte_level();

std::vector<PreTokenizeStep> pre_tokenize_steps(const GgufPreTokenizer& pre_tokenizer, std::string_view file);

}  // namespace galago::text
