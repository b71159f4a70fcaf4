#include "text/tokenizer.h"

#include <algorithm>

#include "text/tokenizer_parts.h"

namespace galago::text {
namespace {

/// The segments as one string of valid UTF-8, and where it is literal.
struct JoinedText {
  std::string text;
  std::vector<Range> literal;
};

JoinedText join(const Segments& segments) {
  JoinedText joined;
  for (const Segment& segment : segments) {
    const std::size_t begin = joined.text.size();
    joined.text += to_utf8(segment.text);
    if (segment.literal && joined.text.size() > begin) joined.literal.push_back({begin, joined.text.size()});
  }
  return joined;
}

class Encoder {
 public:
  explicit Encoder(const TokenizerParts& parts) : parts_(parts) {}

  std::vector<std::int32_t> run(const JoinedText& joined) {
    for (const TextPart& part : parts_.in_text.split(joined.text, joined.literal)) {
      if (part.token) {
        ids_.push_back(*part.token);
      } else {
        encode_stretch(joined, part.range);
      }
    }
    return std::move(ids_);
  }

 private:
  /// Text between tokens: normalised, searched for the tokens that are matched so, split, merged.
  void encode_stretch(const JoinedText& joined, Range range) {
    const Place place = range.begin == 0 ? Place::start : Place::after_token;
    const std::string raw = joined.text.substr(range.begin, range.end - range.begin);
    const std::string text = normalize(parts_.normalizer, raw, place);
    if (parts_.in_normalized_text.empty()) {
      encode_words(text, place);
      return;
    }
    const std::vector<Range> literal = normalized_literal(joined, range, place);
    for (const TextPart& part : parts_.in_normalized_text.split(text, literal)) {
      if (part.token) {
        ids_.push_back(*part.token);
      } else {
        const auto [begin, end] = part.range;
        encode_words(text.substr(begin, end - begin), begin == 0 ? place : Place::after_token);
      }
    }
  }

  /// The literal ranges of a stretch, as they lie in its normalised text.
  std::vector<Range> normalized_literal(const JoinedText& joined, Range range, Place place) const {
    std::vector<Range> literal;
    if (!parts_.in_normalized_text.has_control()) return literal;
    const auto place_of = [&](std::size_t raw) {
      return normalize(parts_.normalizer, joined.text.substr(range.begin, raw - range.begin), place).size();
    };
    for (const Range& raw : joined.literal) {
      if (raw.end <= range.begin || raw.begin >= range.end) continue;
      literal.push_back({place_of(std::max(raw.begin, range.begin)), place_of(std::min(raw.end, range.end))});
    }
    return literal;
  }

  void encode_words(const std::string& text, Place place) {
    for (const std::string& word : pre_tokenize(parts_.pre_tokenizer, text, place)) {
      parts_.model.encode(word, ids_);
    }
  }

  const TokenizerParts& parts_;
  std::vector<std::int32_t> ids_;
};

}  // namespace

std::vector<std::int32_t> Tokenizer::encode(const Segments& segments, SpecialTokens special) const {
  std::vector<std::int32_t> ids = Encoder(*parts_).run(join(segments));
  if (special == SpecialTokens::none) return ids;
  const std::vector<std::int32_t>& prefix = parts_->prefix;
  const bool is_there = ids.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), ids.begin());
  if (!is_there) ids.insert(ids.begin(), prefix.begin(), prefix.end());
  ids.insert(ids.end(), parts_->suffix.begin(), parts_->suffix.end());
  return ids;
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view control_text, SpecialTokens special) const {
  return encode(Segments{{std::string(control_text), false}}, special);
}

std::string Tokenizer::decode(std::span<const std::int32_t> tokens) const {
  DecodeStream stream(parts_->decoder);
  std::string text;
  for (const std::int32_t token : tokens) {
    if (const std::string* shown = parts_->shown_token(token)) text += stream.append(*shown);
  }
  return text += stream.finish();
}

std::optional<std::int32_t> Tokenizer::find(std::string_view token) const {
  return parts_->find(token);
}
std::optional<std::int32_t> Tokenizer::bos() const {
  return parts_->bos;
}
std::optional<std::int32_t> Tokenizer::eos() const {
  return parts_->eos;
}
std::vector<std::int32_t> Tokenizer::end_tokens() const {
  if (parts_->ends.empty() && parts_->eos) return {*parts_->eos};
  return parts_->ends;
}

std::size_t Tokenizer::size() const {
  std::size_t size = parts_->model.vocabulary.size();
  for (const auto& [id, token] : parts_->added) size = std::max(size, static_cast<std::size_t>(id) + 1);
  return size;
}

}  // namespace galago::text
