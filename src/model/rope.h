// Rotary positions (arXiv:2104.09864) and the ways in which models were stretched to longer texts: which
// frequencies turn a decoder's heads, as the configuration says.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace galago::model {

/// "Dynamic NTK" scaling: beyond the trained length the base grows with the sequence.
struct DynamicBase {
  double theta;
  double factor;
};

struct Rope {
  std::int64_t dimensions = 0;     ///< of a head that positions turn, the first ones; frequencies count by it
  std::vector<float> frequencies;  ///< radians a position, one a pair
  std::int64_t trained_length = std::numeric_limits<std::int64_t>::max();  ///< `frequencies` hold up to here
  std::vector<float> long_frequencies;  ///< of all positions of longer sequences (longrope); or empty
  std::optional<DynamicBase> dynamic;   ///< ... or how they follow from the length
  float scale = 1;                      ///< of cosines and sines
  std::int64_t max_context = 0;         ///< positions that the model has

  /// Elements of a head that turn: two a frequency.
  std::int64_t turned() const { return 2 * static_cast<std::int64_t>(frequencies.size()); }
  /// Whether keys that were stored for a sequence of one length hold for one of the other.
  bool same_frequencies(std::int64_t one_length, std::int64_t other_length) const;
  /// Whether a sequence that has grown to `length` needs its earlier keys computed anew.
  bool switches_at(std::int64_t length) const {
    return !long_frequencies.empty() && length == trained_length + 1;
  }
  /// The base for a sequence beyond the trained length, rounded as the reference rounds it.
  float dynamic_base(std::int64_t length) const;
};

/// Reads the decoder's section of the canonical configuration. Throws Error{model} naming `model`.
Rope describe_rope(const nlohmann::json& decoder, std::int64_t head_size, const std::string& model);

}  // namespace galago::model
