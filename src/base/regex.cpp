#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/regex.h"

#include <pcre2.h>

#include "base/fail.h"
#include "base/printable.h"

namespace galago {
namespace {

constexpr std::uint32_t match_limit = 10'000'000;
constexpr std::uint32_t heap_limit_kib = 64 * 1024;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

/// White space as Hugging Face's engine has it, the White_Space property: PCRE2's \s has U+180E besides.
/// Inside a class \S stays PCRE2's, for want of a way to write it.
std::string with_exact_spaces(std::string_view pattern) {
  constexpr std::string_view spaces = R"(\t-\r\x{85}\p{Z})";
  std::string exact;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const char next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (c == '\\' && next == 's') {
      exact += in_class ? std::string(spaces) : fmt::format("[{}]", spaces);
      ++i;
    } else if (c == '\\' && next == 'S' && !in_class) {
      exact += fmt::format("[^{}]", spaces);
      ++i;
    } else if (c == '\\' && next != '\0') {
      exact.append({c, next});
      ++i;
    } else {
      if (c == '[') in_class = true;
      if (c == ']') in_class = false;
      exact += c;
    }
  }
  return exact;
}

using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;
using MatchContext = std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)>;

}  // namespace

Regex::Regex(std::string_view pattern, std::string_view file) {
  constexpr std::size_t longest = 10'000;
  if (pattern.size() > longest) {
    fail(ErrorCode::model, "{}: a regular expression has {} bytes, expected at most {}", file, pattern.size(),
         longest);
  }
  int error = 0;
  PCRE2_SIZE offset = 0;
  const std::string exact = with_exact_spaces(pattern);
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(exact.data()), exact.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    fail(ErrorCode::model, "{}: the regular expression \"{}\" is wrong at byte {}: {}", file,
         printable(pattern), offset, message_of(error));
  }
  code_ = std::shared_ptr<const void>(code, [](const void* compiled) {
    pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(compiled)));
  });
}

std::vector<Range> Regex::matches(std::string_view text) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const MatchData data(pcre2_match_data_create_from_pattern(code, nullptr), &pcre2_match_data_free);
  const MatchContext context(pcre2_match_context_create(nullptr), &pcre2_match_context_free);
  if (data == nullptr || context == nullptr) throw std::bad_alloc();
  pcre2_set_match_limit(context.get(), match_limit);
  pcre2_set_heap_limit(context.get(), heap_limit_kib);

  std::vector<Range> found;
  std::uint32_t options = PCRE2_NOTEMPTY;
  for (std::size_t from = 0; from < text.size();) {
    const int count = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, options,
                                  data.get(), context.get());
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0) {
      fail(ErrorCode::input, "a text is beyond the limits of a regular expression: {}", message_of(count));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    const Range match{ends[0], ends[1]};
    // \K in a lookaround may begin a match after its end or before the last one.
    if (match.begin >= match.end || match.begin < from) {
      fail(ErrorCode::input, "a regular expression matches backwards");
    }
    found.push_back(match);
    from = match.end;
    options |= PCRE2_NO_UTF_CHECK;  // the first call checked all of the text
  }
  return found;
}

}  // namespace galago
