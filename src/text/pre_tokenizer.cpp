#include "text/pre_tokenizer.h"

#include <string_view>

#include "text/byte_level.h"

namespace galago::text {
namespace {

struct Stretch {
  Range range;
  bool matched = false;
};

std::vector<Range> find_all(const std::variant<std::string, Regex>& pattern, std::string_view text) {
  if (const auto* regex = std::get_if<Regex>(&pattern)) return regex->matches(text);
  const auto& needle = std::get<std::string>(pattern);
  std::vector<Range> found;
  if (needle.empty()) return found;
  for (std::size_t at = text.find(needle); at != std::string_view::npos;
       at = text.find(needle, at + needle.size())) {
    found.push_back({at, at + needle.size()});
  }
  return found;
}

/// All of the text as stretches that match and stretches that do not.
std::vector<Stretch> stretches(std::size_t size, const std::vector<Range>& matches, bool invert) {
  std::vector<Stretch> all;
  std::size_t from = 0;
  for (const Range& match : matches) {
    if (match.begin > from) all.push_back({{from, match.begin}, invert});
    all.push_back({match, !invert});
    from = match.end;
  }
  if (from < size) all.push_back({{from, size}, invert});
  return all;
}

/// Merges stretches into words as the behaviour says.
std::vector<Range> merge(const std::vector<Stretch>& all, SplitBehavior behavior) {
  std::vector<Range> words;
  bool before_matched = false;
  for (const Stretch& stretch : all) {
    const bool first = words.empty();
    bool join = false;
    if (behavior == SplitBehavior::merged_with_previous) join = stretch.matched && !before_matched;
    if (behavior == SplitBehavior::merged_with_next) join = !stretch.matched && before_matched;
    if (behavior == SplitBehavior::contiguous) join = stretch.matched == before_matched;
    if (join && !first) {
      words.back().end = stretch.range.end;
    } else if (!stretch.matched || behavior != SplitBehavior::removed) {
      words.push_back(stretch.range);
    }
    before_matched = stretch.matched;
  }
  return words;
}

void append_words(std::string_view text, const std::vector<Range>& ranges, std::vector<std::string>& words) {
  for (const Range& range : ranges) words.emplace_back(text.substr(range.begin, range.end - range.begin));
}

std::vector<Range> numbers(std::string_view text) {
  std::vector<Range> found;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_head(text.substr(i)).length;
    if (is_number(code_point(text.substr(i, length)))) found.push_back({i, i + length});
    i += length;
  }
  return found;
}

void split(const SplitWords& step, const std::string& text, std::vector<std::string>& words) {
  append_words(text, merge(stretches(text.size(), find_all(step.pattern, text), step.invert), step.behavior),
               words);
}

void split(const DigitWords& step, const std::string& text, std::vector<std::string>& words) {
  const SplitBehavior behavior = step.individual ? SplitBehavior::isolated : SplitBehavior::contiguous;
  append_words(text, merge(stretches(text.size(), numbers(text), false), behavior), words);
}

void split(const ByteLevelWords& step, std::string text, std::vector<std::string>& words) {
  if (step.add_prefix_space && !text.starts_with(' ')) text.insert(0, 1, ' ');
  if (!step.words) {
    words.push_back(bytes_to_characters(text));
    return;
  }
  for (const Stretch& stretch : stretches(text.size(), step.words->matches(text), false)) {
    const auto [begin, end] = stretch.range;
    words.push_back(bytes_to_characters(std::string_view(text).substr(begin, end - begin)));
  }
}

void split(const MetaspaceWords& step, std::string text, Place place, std::vector<std::string>& words) {
  replace_all(text, " ", step.replacement);
  const bool prepend = step.prepend == MetaspaceWords::Prepend::always ||
                       (step.prepend == MetaspaceWords::Prepend::first && place == Place::start);
  if (prepend && !text.starts_with(step.replacement)) text.insert(0, step.replacement);
  if (!step.split) {
    words.push_back(std::move(text));
    return;
  }
  const std::vector<Range> marks = find_all(step.replacement, text);
  append_words(text, merge(stretches(text.size(), marks, false), SplitBehavior::merged_with_next), words);
}

}  // namespace

std::vector<std::string> pre_tokenize(const std::vector<PreTokenizeStep>& steps, std::string text,
                                      Place place) {
  std::vector<std::string> words;
  if (text.empty()) return words;
  words.push_back(std::move(text));
  for (const PreTokenizeStep& step : steps) {
    std::vector<std::string> finer;
    for (std::string& word : words) {
      const Place word_place = &word == words.data() ? place : Place::after_token;
      if (const auto* by_pattern = std::get_if<SplitWords>(&step)) {
        split(*by_pattern, word, finer);
      } else if (const auto* by_bytes = std::get_if<ByteLevelWords>(&step)) {
        split(*by_bytes, std::move(word), finer);
      } else if (const auto* by_digits = std::get_if<DigitWords>(&step)) {
        split(*by_digits, word, finer);
      } else {
        split(std::get<MetaspaceWords>(step), std::move(word), word_place, finer);
      }
    }
    words = std::move(finer);
  }
  return words;
}

}  // namespace galago::text
