// What a tokenizer is made of, whichever file it came from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"

namespace galago::text {

/// What becomes of a vocabulary's own name for the id of an added token.
enum class VocabularyName {
  must_agree,
  may_differ,  ///< the added token's counts; the other is still found in texts
};

struct TokenizerParts {
  std::unordered_map<std::int32_t, AddedToken> added;  ///< by id
  std::unordered_map<std::string, std::int32_t> added_ids;
  TokenFinder in_text;             ///< those of them to be found in the text
  TokenFinder in_normalized_text;  ///< and in the normalised text
  std::vector<NormalizeStep> normalizer;
  std::vector<PreTokenizeStep> pre_tokenizer;
  BpeModel model;
  std::vector<std::int32_t> prefix;  ///< before the ids of a text
  std::vector<std::int32_t> suffix;  ///< after them
  std::vector<DecodeStep> decoder;
  std::optional<std::int32_t> bos;
  std::optional<std::int32_t> eos;
  std::vector<std::int32_t> ends;  ///< any of these ends a text, where the file names more than eos

  /// What the decoder is given for an id; null for special tokens and ids without one.
  const std::string* shown_token(std::int32_t id) const {
    const auto found = added.find(id);
    if (found == added.end()) return model.vocabulary.token(id);
    return found->second.special ? nullptr : &found->second.content;
  }
  std::optional<std::int32_t> find(std::string_view token) const;

  /// Adds a token, or replaces what is known of it. Throws ErrorCode::model where its id is another token's.
  void add(const AddedToken& token, std::string_view file, VocabularyName name = VocabularyName::must_agree);
  /// Once all tokens are added and the normalizer is set.
  void build_finders();
};

}  // namespace galago::text
