// The pre-tokenizer of a tokenizer: text cut into words, which are tokenized one by one.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/regex.h"
#include "text/normalizer.h"

namespace galago::text {

enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct SplitWords {
  std::variant<std::string, Regex> pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  ///< the pattern is what lies between the matches
};
struct ByteLevelWords {
  bool add_prefix_space = false;
  std::optional<Regex> words;  ///< GPT-2's pattern, where it is to be used
};
struct DigitWords {
  bool individual = false;
};
struct MetaspaceWords {
  enum class Prepend { always, first, never };
  std::string replacement;
  Prepend prepend = Prepend::always;
  bool split = true;
};
using PreTokenizeStep = std::variant<SplitWords, ByteLevelWords, DigitWords, MetaspaceWords>;

std::vector<std::string> pre_tokenize(const std::vector<PreTokenizeStep>& steps, std::string text,
                                      Place place);

}  // namespace galago::text
