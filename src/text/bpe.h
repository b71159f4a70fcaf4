// Byte-pair encoding of a word: neighbours are merged, the best pair first, in O(n log n).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "text/vocabulary.h"

namespace galago::text {

/// Merges as tokenizer.json lists them: a pair of tokens, its rank (0 is best), the token it becomes.
class RankedMerges {
 public:
  struct Merge {
    std::int32_t rank = 0;
    std::int32_t id = 0;
  };
  /// The first of equal pairs has no say: as in the reference the last one counts.
  void set(std::int32_t left, std::int32_t right, Merge merge) { merges_[key(left, right)] = merge; }
  std::optional<Merge> find(std::int32_t left, std::int32_t right) const;
  /// By the pair: left in the upper half, right in the lower.
  const std::unordered_map<std::uint64_t, Merge>& all() const { return merges_; }

 private:
  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  }
  std::unordered_map<std::uint64_t, Merge> merges_;
};

/// Merges as SentencePiece has them: whatever two neighbours make up a piece, the one of the highest score
/// first.
struct ScoredPieces {
  std::vector<std::optional<float>> scores;  ///< by id; absent: a piece that no text becomes (control, byte)
};

struct BpeModel {
  Vocabulary vocabulary;
  std::variant<RankedMerges, ScoredPieces> merges;
  std::optional<std::int32_t> unknown;
  bool byte_fallback = false;  ///< characters without a token become "<0x41>", where all of those are there
  bool fuse_unknown = false;   ///< a run of unknown characters is one token
  bool ignore_merges = false;  ///< a word that is a token is taken as it is

  /// Appends the ids of `word`, which must be UTF-8.
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const;
};

}  // namespace galago::text
