#include "text/gguf_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

#include "base/fail.h"
#include "base/json.h"
#include "text/gguf_pre_tokenizers.h"
#include "text/load_tokenizer.h"
#include "text/sentencepiece_file.h"

namespace galago::text {
namespace {

namespace fs = std::filesystem;

/// All expressions of a pre-tokenizer in tokenizer.json, and what its steps imply.
void collect_patterns(const Json& step, std::vector<std::string>& patterns) {
  if (!step.is_object()) return;
  const std::string type = step.value("type", "");
  if (type == "Sequence") {
    const Json* steps = find_json(step, "pretokenizers");
    for (std::size_t i = 0; steps != nullptr && steps->is_array() && i < steps->size(); ++i) {
      collect_patterns((*steps)[i], patterns);
    }
  } else if (type == "Split") {
    const Json* regex = find_json(step, "pattern.Regex");
    patterns.push_back(regex != nullptr && regex->is_string() ? regex->get<std::string>() : "");
  } else if (type == "Digits") {
    patterns.push_back(step.value("individual_digits", false) ? R"(\p{N})" : "");
  } else if (type != "ByteLevel") {
    patterns.emplace_back();  // no name has this
  } else if (step.value("use_regex", true)) {
    patterns.push_back(gguf_words_of_byte_level());
  }
}

/// The name by which llama.cpp knows the way a byte-level tokenizer splits texts.
std::string pre_tokenizer_name(const fs::path& directory) {
  const fs::path path = directory / "tokenizer.json";
  const Json json = parse_json_file(path);
  const Json* steps = find_json(json, "pre_tokenizer");
  std::vector<std::string> patterns;
  if (steps != nullptr) collect_patterns(*steps, patterns);
  if (const auto name = gguf_pre_tokenizer_of(patterns)) return *name;
  fail(ErrorCode::model, "{}: its pre_tokenizer is none that GGUF files have a name for", path.string());
}

/// Pieces of tokenizer.json have ranks for scores: a piece is as good as the best merge that makes it.
std::vector<float> scores_of(const BpeModel& model, std::size_t n_tokens) {
  std::vector<float> scores(n_tokens, -static_cast<float>(n_tokens));
  if (const auto* pieces = std::get_if<ScoredPieces>(&model.merges)) {
    for (std::size_t id = 0; id < std::min(n_tokens, pieces->scores.size()); ++id) {
      scores[id] = pieces->scores[id].value_or(0);
    }
    return scores;
  }
  for (const auto& [pair, merge] : std::get<RankedMerges>(model.merges).all()) {
    float& score = scores.at(static_cast<std::size_t>(merge.id));
    score = std::max(score, -static_cast<float>(merge.rank));
  }
  return scores;
}

/// "left right" in the order of their ranks.
std::vector<std::string> merges_of(const BpeModel& model) {
  std::map<std::int32_t, std::string> ordered;
  const auto* ranked = std::get_if<RankedMerges>(&model.merges);
  if (ranked == nullptr) return {};
  for (const auto& [pair, merge] : ranked->all()) {
    std::string text = *model.vocabulary.token(static_cast<std::int32_t>(pair >> 32));
    text += ' ';
    text += *model.vocabulary.token(static_cast<std::int32_t>(pair & 0xFFFFFFFF));
    ordered.emplace(merge.rank, std::move(text));
  }
  std::vector<std::string> merges;
  merges.reserve(ordered.size());
  for (auto& [rank, text] : ordered) merges.push_back(std::move(text));
  return merges;
}

bool is_byte(const std::string& token) {
  return token.size() == 6 && token.starts_with("<0x") && token.back() == '>';
}

/// Whether texts get a space before them.
bool prepends_space(const TokenizerParts& parts) {
  for (const NormalizeStep& step : parts.normalizer) {
    if (std::holds_alternative<PrependText>(step)) return true;
    if (const auto* spaces = std::get_if<SentencePieceSpaces>(&step)) return spaces->add_dummy_prefix;
  }
  return std::any_of(parts.pre_tokenizer.begin(), parts.pre_tokenizer.end(), [](const PreTokenizeStep& step) {
    const auto* words = std::get_if<MetaspaceWords>(&step);
    return words != nullptr && words->prepend != MetaspaceWords::Prepend::never;
  });
}

PieceType type_of(const TokenizerParts& parts, std::int32_t id, const std::string& token) {
  const auto added = parts.added.find(id);
  if (parts.model.unknown == id) return PieceType::unknown;
  if (added != parts.added.end()) {
    return added->second.special ? PieceType::control : PieceType::user_defined;
  }
  return parts.model.byte_fallback && is_byte(token) ? PieceType::byte : PieceType::normal;
}

void add_tokens(const TokenizerParts& parts, std::int64_t n_rows, GgufVocabulary& vocabulary) {
  for (std::int32_t id = 0; id < n_rows; ++id) {
    const auto added = parts.added.find(id);
    const std::string* token =
        added == parts.added.end() ? parts.model.vocabulary.token(id) : &added->second.content;
    vocabulary.tokens.push_back(token == nullptr ? fmt::format("[PAD{}]", id) : *token);
    const PieceType type = token == nullptr ? PieceType::unused : type_of(parts, id, *token);
    vocabulary.token_types.push_back(static_cast<std::int32_t>(type));
  }
}

std::optional<std::int64_t> wide(std::optional<std::int32_t> id) {
  return id ? std::optional<std::int64_t>(*id) : std::nullopt;
}

}  // namespace

GgufVocabulary export_vocabulary(const fs::path& directory, std::int64_t n_rows) {
  const TokenizerParts parts = load_tokenizer_parts(directory);
  if (static_cast<std::int64_t>(parts.model.vocabulary.size()) > n_rows) {
    fail(ErrorCode::model,
         "{}: the tokenizer has {} tokens, the embeddings {} rows; the files do not belong together",
         directory.string(), parts.model.vocabulary.size(), n_rows);
  }
  GgufVocabulary vocabulary;
  const bool is_sentencepiece = parts.model.byte_fallback;
  vocabulary.model = is_sentencepiece ? "llama" : "gpt2";
  add_tokens(parts, n_rows, vocabulary);
  if (is_sentencepiece) {
    vocabulary.scores = scores_of(parts.model, vocabulary.tokens.size());
    vocabulary.add_space_prefix = prepends_space(parts);
  } else {
    vocabulary.pre = pre_tokenizer_name(directory);
    vocabulary.merges = merges_of(parts.model);
  }
  vocabulary.bos_token_id = wide(parts.bos);
  vocabulary.eos_token_id = wide(parts.eos);
  vocabulary.unknown_token_id = wide(parts.model.unknown);
  vocabulary.add_bos_token = !parts.prefix.empty();
  vocabulary.add_eos_token = !parts.suffix.empty();
  return vocabulary;
}

}  // namespace galago::text
