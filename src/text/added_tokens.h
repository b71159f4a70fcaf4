// Tokens that are found in a text as they stand, before it is tokenized.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/regex.h"

namespace galago::text {

struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool special = false;
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< and after it
  bool single_word = false;  ///< only where no letter or digit touches it
  bool normalized = false;   ///< looked for in the normalised text
};

/// Whether a token gives a conversation its form: special ones do, and those written like one
/// ("<|im_start|>",
/// "[UNUSED_TOKEN_146]", "</s>") even where the files do not call them special. A user's words never become
/// such a token.
bool is_control(const AddedToken& token);

/// A token, or text between tokens.
struct TextPart {
  Range range;
  std::optional<std::int32_t> token;
};

/// Finds tokens from left to right, the longest of those that begin at one place.
class TokenFinder {
 public:
  /// `form` is how the token's content looks in the text that is searched.
  void add(const std::string& form, const AddedToken& token);
  bool empty() const { return tokens_.empty(); }
  bool has_control() const { return has_control_; }

  /// All of `text` in parts. A control token must not touch one of the `literal` ranges, which are in order.
  std::vector<TextPart> split(std::string_view text, const std::vector<Range>& literal) const;

 private:
  struct Match {
    Range range;
    const AddedToken* token = nullptr;
  };
  Match find(std::string_view text, std::size_t from, const std::vector<Range>& literal) const;
  const AddedToken* token_at(std::string_view text, Range range, const std::vector<Range>& literal) const;

  struct Entry {
    AddedToken token;
    bool control = false;
  };
  std::unordered_map<std::string, Entry> tokens_;
  std::map<unsigned char, std::set<std::size_t, std::greater<>>>
      lengths_;  // by first byte, the longest first
  bool has_control_ = false;
};

}  // namespace galago::text
