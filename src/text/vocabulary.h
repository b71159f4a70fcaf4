// Tokens by id and ids by token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace galago::text {

class Vocabulary {
 public:
  /// Ids are at most this: no real vocabulary comes near, and sums of a few stay in range.
  static constexpr std::int32_t largest_id = (1 << 24) - 1;

  /// Throws ErrorCode::model naming `file` where the id is out of range, or the token or the id is taken.
  void add(std::string_view token, std::int64_t id, std::string_view file);

  std::optional<std::int32_t> find(std::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? std::nullopt : std::optional<std::int32_t>(found->second);
  }
  /// Null for an id without a token.
  const std::string* token(std::int32_t id) const {
    const auto found = tokens_.find(id);
    return found == tokens_.end() ? nullptr : &found->second;
  }
  /// One more than the largest id.
  std::size_t size() const { return size_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
  std::unordered_map<std::int32_t, std::string> tokens_;
  std::size_t size_ = 0;
};

}  // namespace galago::text
