#include "text/gguf_tokenizer.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/fail.h"
#include "base/printable.h"
#include "text/gguf_pre_tokenizers.h"
#include "text/sentencepiece_file.h"
#include "text/tokenizer_parts.h"

namespace galago::text {
namespace {

constexpr const char* space_mark = "\xE2\x96\x81";  // U+2581

/// Tokens that end a model's answer, whatever roles the file gives: llama.cpp's list, as far as the families
/// here have them.
constexpr std::string_view end_marks[] = {"<|eot_id|>",    "<|im_end|>",      "<|end|>",
                                          "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>"};

/// Phi-3's tokens take white space after them along. GGUF has no place to say so; llama.cpp knows it by name.
bool strips_after_tokens(const GgufVocabulary& from) {
  std::string name = from.name;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return from.model == "llama" && (from.architecture == "phi3" || name.find("phi-3") != std::string::npos ||
                                   name.find("phi3") != std::string::npos);
}

class Maker {
 public:
  Maker(const GgufVocabulary& from, const std::string& file)
      : from_(from), file_(file), strips_after_(strips_after_tokens(from)) {}

  TokenizerParts run() {
    check_sizes();
    for (std::size_t id = 0; id < from_.tokens.size(); ++id) add_token(id);
    if (from_.model == "llama") {
      make_sentencepiece();
    } else if (from_.model == "gpt2") {
      make_byte_level();
    } else {
      fail(ErrorCode::model, "{}: the tokenizer \"{}\" is not supported, expected llama or gpt2", file_,
           printable(from_.model));
    }
    set_roles();
    parts_.build_finders();
    return std::move(parts_);
  }

 private:
  PieceType type_of(std::size_t id) const {
    const std::int32_t type = from_.token_types.empty() ? 1 : from_.token_types[id];
    return type >= 1 && type <= 6 ? static_cast<PieceType>(type) : PieceType::unused;
  }

  void check_sizes() const {
    if (from_.tokens.empty()) fail(ErrorCode::model, "{}: tokenizer.ggml.tokens is missing or empty", file_);
    const auto check = [&](const char* key, std::size_t found) {
      if (found == 0 || found >= from_.tokens.size()) return;
      fail(ErrorCode::model, "{}: tokenizer.ggml.{} has {} entries for {} tokens", file_, key, found,
           from_.tokens.size());
    };
    check("scores", from_.scores.size());
    check("token_type", from_.token_types.size());
  }

  void add_token(std::size_t id) {
    const std::string& text = from_.tokens[id];
    if (text.empty()) return;  // some files fill unused ids so
    parts_.model.vocabulary.add(text, static_cast<std::int64_t>(id), file_);
    const PieceType type = type_of(id);
    if (type != PieceType::control && type != PieceType::unknown && type != PieceType::user_defined) return;
    AddedToken token;
    token.content = text;
    token.id = static_cast<std::int32_t>(id);
    token.special = type != PieceType::user_defined;
    token.rstrip = strips_after_ && (text == "</s>" || (text.starts_with("<|") && text != "<|endoftext|>"));
    parts_.add(token, file_);
  }

  void make_sentencepiece() {
    ScoredPieces scored;
    for (std::size_t id = 0; id < from_.tokens.size(); ++id) {
      const float score = from_.scores.empty() ? 0.0F : from_.scores[id];
      if (std::isnan(score))
        fail(ErrorCode::model, "{}: the score of the token {} is not a number", file_, id);
      const bool from_text = type_of(id) == PieceType::normal;
      scored.scores.push_back(from_text ? std::optional<float>(score) : std::nullopt);
    }
    parts_.model.merges = std::move(scored);
    parts_.model.byte_fallback = true;
    parts_.model.fuse_unknown = true;
    SentencePieceSpaces spaces;
    spaces.add_dummy_prefix = from_.add_space_prefix.value_or(true);
    parts_.normalizer.emplace_back(spaces);
    parts_.decoder.emplace_back(ReplaceStep{space_mark, " "});
    parts_.decoder.emplace_back(ByteFallbackStep{});
    parts_.decoder.emplace_back(FuseStep{});
    if (spaces.add_dummy_prefix) parts_.decoder.emplace_back(StripStep{" ", 1});
    add_bos_ = true;
  }

  void make_byte_level() {
    const GgufPreTokenizer& pre_tokenizer = gguf_pre_tokenizer(from_.pre, file_);
    parts_.pre_tokenizer = pre_tokenize_steps(pre_tokenizer, file_);
    parts_.model.ignore_merges = pre_tokenizer.ignore_merges;
    add_bos_ = pre_tokenizer.add_bos;
    if (from_.merges.empty()) fail(ErrorCode::model, "{}: tokenizer.ggml.merges is missing or empty", file_);
    RankedMerges ranked;
    for (std::size_t rank = 0; rank < from_.merges.size(); ++rank) add_merge(rank, ranked);
    parts_.model.merges = std::move(ranked);
    parts_.decoder.emplace_back(ByteLevelStep{});
  }

  void add_merge(std::size_t rank, RankedMerges& ranked) const {
    const std::string& merge = from_.merges[rank];
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string::npos || space + 1 == merge.size()) {
      fail(ErrorCode::model, "{}: merge {} is \"{}\", expected two tokens", file_, rank, printable(merge));
    }
    const std::string left = merge.substr(0, space);
    const std::string right = merge.substr(space + 1);
    ranked.set(merged_token(left, rank), merged_token(right, rank),
               {static_cast<std::int32_t>(rank), merged_token(left + right, rank)});
  }

  std::int32_t merged_token(const std::string& token, std::size_t rank) const {
    const auto id = parts_.model.vocabulary.find(token);
    if (!id) {
      fail(ErrorCode::model, "{}: merge {} names the token \"{}\", which is not in the vocabulary", file_,
           rank, printable(token));
    }
    return *id;
  }

  /// The id of a role if a token has it. `otherwise`: what files without the key mean.
  std::optional<std::int32_t> role(std::optional<std::int64_t> id,
                                   std::optional<std::int64_t> otherwise = std::nullopt) const {
    const auto exists = [&](std::optional<std::int64_t> candidate) {
      return candidate && *candidate >= 0 && *candidate <= Vocabulary::largest_id &&
             parts_.model.vocabulary.token(static_cast<std::int32_t>(*candidate)) != nullptr;
    };
    if (exists(id)) return static_cast<std::int32_t>(*id);
    if (exists(otherwise)) return static_cast<std::int32_t>(*otherwise);
    return std::nullopt;
  }

  void set_roles() {
    const bool is_sentencepiece = from_.model == "llama";
    const auto usual = [&](std::int64_t id) {
      return is_sentencepiece ? std::optional<std::int64_t>(id) : std::nullopt;
    };
    parts_.model.unknown = role(from_.unknown_token_id, usual(0));
    parts_.bos = role(from_.bos_token_id, usual(1));
    parts_.eos = role(from_.eos_token_id, usual(2));
    for (const auto id : {parts_.model.unknown, parts_.bos, parts_.eos}) make_special(id);
    add_end(parts_.eos);
    add_end(role(from_.eot_token_id));
    for (const std::string_view mark : end_marks) {
      const auto found = parts_.added_ids.find(std::string(mark));
      if (found != parts_.added_ids.end()) add_end(found->second);
    }
    if (from_.add_bos_token.value_or(add_bos_) && parts_.bos) parts_.prefix.push_back(*parts_.bos);
    if (from_.add_eos_token.value_or(false) && parts_.eos) parts_.suffix.push_back(*parts_.eos);
  }

  /// A token that begins or ends texts is none of a user's words, also where the file has no types or the
  /// wrong one. What the file calls an ordinary token stays one: some name one for want of a better.
  void make_special(std::optional<std::int32_t> id) {
    if (!id) return;
    const auto known = parts_.added.find(*id);
    if (known == parts_.added.end() && !from_.token_types.empty()) return;
    AddedToken token;
    if (known != parts_.added.end()) token = known->second;
    token.content = *parts_.model.vocabulary.token(*id);
    token.id = *id;
    token.special = true;
    parts_.add(token, file_);
  }

  void add_end(std::optional<std::int32_t> id) {
    if (!id || std::find(parts_.ends.begin(), parts_.ends.end(), *id) != parts_.ends.end()) return;
    make_special(id);
    parts_.ends.push_back(*id);
  }

  const GgufVocabulary& from_;
  const std::string& file_;
  bool strips_after_ = false;
  bool add_bos_ = false;  // where the file does not say
  TokenizerParts parts_;
};

}  // namespace

Tokenizer make_gguf_tokenizer(const GgufVocabulary& vocabulary, const std::string& file) {
  return Tokenizer(std::make_shared<const TokenizerParts>(Maker(vocabulary, file).run()));
}

}  // namespace galago::text
