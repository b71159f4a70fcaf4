#include "text/tokenizer_json_steps.h"

#include "base/fail.h"
#include "base/printable.h"

namespace galago::text {
namespace {

constexpr std::string_view gpt2_words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// Calls `read(type, step)` for the step, or for each step of a sequence of them.
template <class Read>
void for_each_step(const Json& json, const char* list_key, std::string_view file, const Read& read) {
  if (json.is_null()) return;
  const std::string type = get_string(json, "type", file);
  if (type != "Sequence") {
    read(type, json);
    return;
  }
  const Json* list = find_json(json, list_key);
  if (list == nullptr || !list->is_array()) {
    fail(ErrorCode::model, "{}: {} of a Sequence is missing or no array", file, list_key);
  }
  for (const Json& step : *list) for_each_step(step, list_key, file, read);
}

std::variant<std::string, Regex> read_pattern(const Json& json, std::string_view file) {
  const Json* pattern = find_json(json, "pattern");
  if (pattern != nullptr && pattern->is_object() && pattern->contains("Regex")) {
    return Regex(get_string(*pattern, "Regex", file), file);
  }
  if (pattern != nullptr && pattern->is_object() && pattern->contains("String")) {
    return get_string(*pattern, "String", file);
  }
  fail(ErrorCode::model, "{}: a pattern is missing or of an unknown kind, expected Regex or String", file);
}

[[noreturn]] void fail_type(std::string_view section, std::string_view type, std::string_view known,
                            std::string_view file) {
  fail(ErrorCode::model, "{}: the {} \"{}\" is not supported, expected one of Sequence, {}", file, section,
       printable(type), known);
}

NormalizeStep read_normalizer(const std::string& type, const Json& json, std::string_view file) {
  if (type == "Prepend") return PrependText{get_string(json, "prepend", file)};
  if (type == "Replace") return ReplaceText{read_pattern(json, file), get_string(json, "content", file)};
  if (type == "NFC") return UnicodeForm::nfc;
  if (type == "NFD") return UnicodeForm::nfd;
  if (type == "NFKC") return UnicodeForm::nfkc;
  if (type == "NFKD") return UnicodeForm::nfkd;
  if (type == "Lowercase") return Lowercase{};
  fail_type("normalizer", type, "Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase", file);
}

SplitBehavior read_behavior(const Json& json, std::string_view file) {
  const std::string behavior = get_string(json, "behavior", file);
  if (behavior == "Removed") return SplitBehavior::removed;
  if (behavior == "Isolated") return SplitBehavior::isolated;
  if (behavior == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (behavior == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (behavior == "Contiguous") return SplitBehavior::contiguous;
  fail(ErrorCode::model,
       "{}: the behavior \"{}\" of a Split is not supported, expected Removed, Isolated, MergedWithPrevious, "
       "MergedWithNext or Contiguous",
       file, printable(behavior));
}

std::string read_mark(const Json& json, std::string_view file) {
  std::string mark = get_string(json, "replacement", file);
  if (mark.empty()) fail(ErrorCode::model, "{}: the replacement of a Metaspace is empty", file);
  return mark;
}

MetaspaceWords::Prepend read_prepend(const Json& json, std::string_view file) {
  if (!json.contains("prepend_scheme")) {  // as files up to 2023 have it
    return bool_or(json, "add_prefix_space", true, file) ? MetaspaceWords::Prepend::always
                                                         : MetaspaceWords::Prepend::never;
  }
  const std::string scheme = get_string(json, "prepend_scheme", file);
  if (scheme == "always") return MetaspaceWords::Prepend::always;
  if (scheme == "first") return MetaspaceWords::Prepend::first;
  if (scheme == "never") return MetaspaceWords::Prepend::never;
  fail(ErrorCode::model, "{}: the prepend_scheme \"{}\" is unknown, expected always, first or never", file,
       printable(scheme));
}

PreTokenizeStep read_pre_tokenizer(const std::string& type, const Json& json, std::string_view file) {
  if (type == "Split") {
    return SplitWords{read_pattern(json, file), read_behavior(json, file),
                      bool_or(json, "invert", false, file)};
  }
  if (type == "ByteLevel") {
    ByteLevelWords words{bool_or(json, "add_prefix_space", true, file), std::nullopt};
    if (bool_or(json, "use_regex", true, file)) words.words.emplace(gpt2_words, file);
    return words;
  }
  if (type == "Digits") return DigitWords{bool_or(json, "individual_digits", false, file)};
  if (type == "Metaspace") {
    return MetaspaceWords{read_mark(json, file), read_prepend(json, file),
                          bool_or(json, "split", true, file)};
  }
  fail_type("pre_tokenizer", type, "Split, ByteLevel, Digits, Metaspace", file);
}

DecodeStep read_strip(const Json& json, std::string_view file) {
  StripStep strip{get_string(json, "content", file), 0};
  if (strip.content.empty()) fail(ErrorCode::model, "{}: the content of a Strip is empty", file);
  strip.start = static_cast<std::size_t>(get_int(json, "start", 0, 1'000'000, file));
  if (get_int(json, "stop", 0, 1'000'000, file) != 0) {
    fail(ErrorCode::model, "{}: a Strip decoder with a stop other than 0 is not supported", file);
  }
  return strip;
}

DecodeStep read_decoder(const std::string& type, const Json& json, std::string_view file) {
  if (type == "Replace") {
    const auto pattern = read_pattern(json, file);
    const auto* text = std::get_if<std::string>(&pattern);
    if (text == nullptr) {
      fail(ErrorCode::model, "{}: a Replace decoder with a regular expression is not supported", file);
    }
    return ReplaceStep{*text, get_string(json, "content", file)};
  }
  if (type == "ByteFallback") return ByteFallbackStep{};
  if (type == "Fuse") return FuseStep{};
  if (type == "Strip") return read_strip(json, file);
  if (type == "ByteLevel") return ByteLevelStep{};
  if (type == "Metaspace") {
    return MetaspaceStep{read_mark(json, file), read_prepend(json, file) != MetaspaceWords::Prepend::never};
  }
  fail_type("decoder", type, "Replace, ByteFallback, Fuse, Strip, ByteLevel, Metaspace", file);
}

}  // namespace

bool bool_or(const Json& json, const char* key, bool otherwise, std::string_view file) {
  return json.contains(key) && !json.at(key).is_null() ? get_bool(json, key, file) : otherwise;
}

std::vector<NormalizeStep> read_normalizers(const Json& json, std::string_view file) {
  std::vector<NormalizeStep> steps;
  for_each_step(json, "normalizers", file, [&](const std::string& type, const Json& step) {
    steps.push_back(read_normalizer(type, step, file));
  });
  return steps;
}

std::vector<PreTokenizeStep> read_pre_tokenizers(const Json& json, std::string_view file) {
  std::vector<PreTokenizeStep> steps;
  for_each_step(json, "pretokenizers", file, [&](const std::string& type, const Json& step) {
    steps.push_back(read_pre_tokenizer(type, step, file));
  });
  return steps;
}

std::vector<DecodeStep> read_decoders(const Json& json, std::string_view file) {
  std::vector<DecodeStep> steps;
  for_each_step(json, "decoders", file, [&](const std::string& type, const Json& step) {
    steps.push_back(read_decoder(type, step, file));
  });
  return steps;
}

}  // namespace galago::text
