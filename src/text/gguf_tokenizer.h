// The tokenizer of a GGUF file: its metadata keys tokenizer.ggml.* as the parts of a tokenizer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace galago::text {

/// Each member is the key of its name after "tokenizer.ggml.", unless said otherwise; empty or absent where
/// the file has no such key.
struct GgufVocabulary {
  std::string model;         ///< "llama" (SentencePiece) or "gpt2" (byte-level BPE)
  std::string pre;           ///< the name of the pre-tokenizer, for "gpt2"
  std::string architecture;  ///< general.architecture
  std::string name;          ///< general.name
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<std::int32_t> token_types;  ///< token_type
  std::vector<std::string> merges;
  std::optional<std::int64_t> bos_token_id;
  std::optional<std::int64_t> eos_token_id;
  std::optional<std::int64_t> eot_token_id;
  std::optional<std::int64_t> unknown_token_id;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  std::optional<bool> add_space_prefix;
};

/// Throws ErrorCode::model naming `file` and what of the vocabulary is wrong or not supported. An id of a
/// role (bos, eos ...) that no token has counts as absent, as for llama.cpp.
Tokenizer make_gguf_tokenizer(const GgufVocabulary& vocabulary, const std::string& file);

}  // namespace galago::text
