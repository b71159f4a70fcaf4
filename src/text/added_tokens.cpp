#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace galago::text {
namespace {

bool overlaps(Range range, const std::vector<Range>& others) {
  const auto first =
      std::find_if(others.begin(), others.end(), [&](const Range& other) { return other.end > range.begin; });
  return first != others.end() && first->begin < range.end;
}

/// Where the character before `end` begins.
std::size_t previous_character(std::string_view text, std::size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  return end;
}

char32_t character_at(std::string_view text, std::size_t at) {
  return code_point(text.substr(at, utf8_head(text.substr(at)).length));
}

bool stands_alone(std::string_view text, Range range) {
  const bool before = range.begin > 0 && is_word(character_at(text, previous_character(text, range.begin)));
  const bool after = range.end < text.size() && is_word(character_at(text, range.end));
  return !before && !after;
}

/// The match and the white space that its token takes along, not before `from`.
Range with_spaces(std::string_view text, Range range, const AddedToken& token, std::size_t from) {
  while (token.lstrip && range.begin > from) {
    const std::size_t before = previous_character(text, range.begin);
    if (!is_space(character_at(text, before))) break;
    range.begin = before;
  }
  while (token.rstrip && range.end < text.size() && is_space(character_at(text, range.end))) {
    range.end += utf8_head(text.substr(range.end)).length;
  }
  return range;
}

}  // namespace

bool is_control(const AddedToken& token) {
  if (token.special) return true;
  const std::string_view text = token.content;
  if (text == "<s>" || text == "</s>") return true;
  if (text.starts_with("<|")) return text.size() > 4 && text.ends_with("|>");
  return text.size() > 2 && text.starts_with('[') && text.ends_with(']') &&
         std::all_of(text.begin() + 1, text.end() - 1, [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '/';
         });
}

void TokenFinder::add(const std::string& form, const AddedToken& token) {
  if (form.empty()) return;
  const bool control = is_control(token);
  tokens_.insert_or_assign(form, Entry{token, control});
  lengths_[static_cast<unsigned char>(form.front())].insert(form.size());
  has_control_ = has_control_ || control;
}

const AddedToken* TokenFinder::token_at(std::string_view text, Range range,
                                        const std::vector<Range>& literal) const {
  const auto found = tokens_.find(std::string(text.substr(range.begin, range.end - range.begin)));
  if (found == tokens_.end()) return nullptr;
  return found->second.control && overlaps(range, literal) ? nullptr : &found->second.token;
}

TokenFinder::Match TokenFinder::find(std::string_view text, std::size_t from,
                                     const std::vector<Range>& literal) const {
  for (std::size_t at = from; at < text.size(); ++at) {
    const auto lengths = lengths_.find(static_cast<unsigned char>(text[at]));
    if (lengths == lengths_.end()) continue;
    for (const std::size_t length : lengths->second) {
      if (length > text.size() - at) continue;
      const Range range{at, at + length};
      if (const AddedToken* token = token_at(text, range, literal)) return {range, token};
    }
  }
  return {};
}

std::vector<TextPart> TokenFinder::split(std::string_view text, const std::vector<Range>& literal) const {
  std::vector<TextPart> parts;
  std::size_t done = 0;  // all before it is in a part
  std::size_t from = 0;
  while (true) {
    const Match match = find(text, from, literal);
    if (match.token == nullptr) break;
    from = match.range.end;
    if (match.token->single_word && !stands_alone(text, match.range)) continue;
    const Range taken = with_spaces(text, match.range, *match.token, done);
    if (taken.begin > done) parts.push_back({{done, taken.begin}, std::nullopt});
    parts.push_back({taken, match.token->id});
    done = from = taken.end;
  }
  if (done < text.size()) parts.push_back({{done, text.size()}, std::nullopt});
  return parts;
}

}  // namespace galago::text
