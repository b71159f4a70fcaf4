// Text to token ids and back, as a checkpoint's tokenizer files say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace galago::text {

struct TokenizerParts;
class StreamDecoder;

/// Whether the tokens that open and close a text (BOS, where the tokenizer adds one) are wanted.
enum class SpecialTokens { add, none };

/// A stretch of a prompt. In literal text, the words of a user, special tokens are not recognised; in the
/// other, the text of chat formats, they are.
struct Segment {
  std::string text;
  bool literal = false;
};
using Segments = std::vector<Segment>;

/// An immutable value: copies share their tables, and any number of threads may use one.
class Tokenizer {
 public:
  explicit Tokenizer(std::shared_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}

  /// The segments' texts are tokenized as one string: where they meet leaves no trace in the ids. Bytes that
  /// are not UTF-8 count as U+FFFD. BOS is not added to a text that begins with it. Throws ErrorCode::input
  /// where a text takes a tokenizer's regular expression beyond its limits.
  std::vector<std::int32_t> encode(const Segments& segments, SpecialTokens special) const;
  std::vector<std::int32_t> encode(std::string_view control_text, SpecialTokens special) const;

  /// The text of ordinary tokens; special tokens and ids that the tokenizer lacks are skipped. Bytes that do
  /// not make up UTF-8 become U+FFFD.
  std::string decode(std::span<const std::int32_t> tokens) const;

  /// The id of exactly this token, special ones included.
  std::optional<std::int32_t> find(std::string_view token) const;
  std::optional<std::int32_t> bos() const;
  std::optional<std::int32_t> eos() const;
  /// The tokens any of which ends a text, as far as the tokenizer's files say; eos is one of them.
  std::vector<std::int32_t> end_tokens() const;
  /// One more than the largest id.
  std::size_t size() const;

 private:
  friend class StreamDecoder;
  std::shared_ptr<const TokenizerParts> parts_;
};

/// Reads tokenizer.json, or tokenizer.model where there is none, and the configuration beside it
/// (tokenizer_config.json, special_tokens_map.json, added_tokens.json). Throws ErrorCode::model naming the
/// file and what it asks for that is not supported, or what is wrong with it.
Tokenizer load_tokenizer(const std::filesystem::path& directory);

}  // namespace galago::text
