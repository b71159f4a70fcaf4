#include "text/gguf_pre_tokenizers.h"

#include <algorithm>
#include <array>

#include "base/fail.h"
#include "base/printable.h"

namespace galago::text {
namespace {

using Pattern = std::string_view;

// The expressions are those of the tokenizer.json files that the names stand for.
constexpr Pattern gpt2_words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";

constexpr std::array<Pattern, 4> fallback = {R"([\p{P}\$\+<=>\^~\|]+)", gpt2_words, R"(\p{N}+)",
                                             R"([0-9][0-9][0-9])"};
constexpr std::array<Pattern, 1> gpt2 = {gpt2_words};
constexpr std::array<Pattern, 2> single_digits = {R"(\p{N})", gpt2_words};
constexpr std::array<Pattern, 3> falcon = {R"([\p{P}\$\+<=>\^~\|`]+)", gpt2_words, R"([0-9][0-9][0-9])"};
constexpr std::array<Pattern, 1> llama3 = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::array<Pattern, 1> qwen2 = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::array<Pattern, 1> tekken = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::array<Pattern, 1> gpt4o = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

constexpr auto known = std::to_array<GgufPreTokenizer>({
    {"default", fallback},
    {"llama3", llama3, true, true},
    {"llama-v3", llama3, true, true},
    {"llama-bpe", llama3, true, true},
    {"falcon3", llama3, true, true},
    {"pixtral", llama3, true, true},
    {"dbrx", llama3},
    {"smaug-bpe", llama3},
    {"qwen2", qwen2},
    {"deepseek-r1-qwen", qwen2},
    {"megrez", qwen2},
    {"stablelm2", qwen2},
    {"gpt-2", gpt2},
    {"phi-2", gpt2},
    {"mpt", gpt2},
    {"olmo", gpt2},
    {"smollm", single_digits},
    {"starcoder", single_digits},
    {"refact", single_digits},
    {"command-r", single_digits},
    {"codeshell", single_digits},
    {"exaone", single_digits},
    {"falcon", falcon},
    {"tekken", tekken, true, true},
    {"gpt-4o", gpt4o},
    {"llama4", gpt4o},
});

}  // namespace

const GgufPreTokenizer& gguf_pre_tokenizer(std::string_view name, std::string_view file) {
  const std::string_view wanted = name.empty() ? "default" : name;
  const auto* found = std::find_if(known.begin(), known.end(),
                                   [&](const GgufPreTokenizer& entry) { return entry.name == wanted; });
  if (found != known.end()) return *found;
  std::string names;
  for (const GgufPreTokenizer& entry : known) {
    if (!names.empty()) names += ", ";
    names += entry.name;
  }
  fail(ErrorCode::model, "{}: the pre-tokenizer \"{}\" is not known, expected one of {}", file,
       printable(name), names);
}

std::optional<std::string> gguf_pre_tokenizer_of(std::span<const std::string> patterns) {
  const auto* found = std::find_if(known.begin(), known.end(), [&](const GgufPreTokenizer& entry) {
    return std::equal(entry.patterns.begin(), entry.patterns.end(), patterns.begin(), patterns.end());
  });
  return found == known.end() ? std::nullopt : std::optional<std::string>(found->name);
}

std::string gguf_words_of_byte_level() {
  return std::string(gpt2_words);
}

std::vector<PreTokenizeStep> pre_tokenize_steps(const GgufPreTokenizer& pre_tokenizer,
                                                std::string_view file) {
  std::vector<PreTokenizeStep> steps;
  for (const std::string_view pattern : pre_tokenizer.patterns) {
    steps.emplace_back(SplitWords{Regex(pattern, file), SplitBehavior::isolated, false});
  }
  steps.emplace_back(ByteLevelWords{});
  return steps;
}

}  // namespace galago::text
