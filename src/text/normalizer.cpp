#include "text/normalizer.h"

namespace galago::text {
namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";  // U+2581

void replace(const ReplaceText& step, std::string& text) {
  if (const auto* pattern = std::get_if<std::string>(&step.pattern)) {
    replace_all(text, *pattern, step.content);
    return;
  }
  std::string replaced;
  std::size_t from = 0;
  for (const Range& match : std::get<Regex>(step.pattern).matches(text)) {
    replaced.append(text, from, match.begin - from).append(step.content);
    from = match.end;
  }
  text = replaced.append(text, from);
}

/// Leading and trailing spaces go, a run of them becomes one.
std::string without_extra_spaces(std::string_view text) {
  std::string kept;
  for (const char c : text) {
    if (c != ' ' || (!kept.empty() && kept.back() != ' ')) kept += c;
  }
  if (!kept.empty() && kept.back() == ' ') kept.pop_back();
  return kept;
}

void normalize_spaces(const SentencePieceSpaces& step, Place place, std::string& text) {
  if (step.remove_extra_whitespaces) text = without_extra_spaces(text);
  if (text.empty()) return;
  if (step.add_dummy_prefix && (place == Place::start || !step.prefix_at_start_only)) text.insert(0, 1, ' ');
  if (step.escape_whitespaces) replace_all(text, " ", space_mark);
}

}  // namespace

std::string normalize(const std::vector<NormalizeStep>& steps, std::string text, Place place) {
  for (const NormalizeStep& step : steps) {
    if (const auto* prepend = std::get_if<PrependText>(&step)) {
      if (!text.empty()) text.insert(0, prepend->text);
    } else if (const auto* replaced = std::get_if<ReplaceText>(&step)) {
      replace(*replaced, text);
    } else if (const auto* form = std::get_if<UnicodeForm>(&step)) {
      text = normalize_unicode(text, *form);
    } else if (const auto* spaces = std::get_if<SentencePieceSpaces>(&step)) {
      normalize_spaces(*spaces, place, text);
    } else {
      text = lowercase(text);
    }
  }
  return text;
}

}  // namespace galago::text
