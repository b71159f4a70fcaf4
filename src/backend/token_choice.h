// How the token after a row is chosen from its logits. All devices choose the same (decision 0038).
#pragma once

#include <cstdint>
#include <span>

#include "kernels/sampling.h"

namespace galago::backend {

struct TokenChoice {
  double temperature = 0;  ///< 0: the largest logit, of equal ones the first, is chosen
  std::int64_t top_k = 0;  ///< 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  std::uint64_t random = 0;               ///< a random number, of 2^64; without temperature not looked at
  std::span<const std::uint32_t> said{};  ///< a bit a token, which the penalty falls on; without one empty
};

/// The same in a kernel's numbers.
kernels::Choice kernel_choice(const TokenChoice& choice);

/// Whether the penalty falls on a token.
inline bool was_said(std::span<const std::uint32_t> said, std::size_t token) {
  return (said[token / 32] >> token % 32 & 1U) != 0;
}

}  // namespace galago::backend
