#include "backend/token_choice.h"

#include <algorithm>
#include <cmath>

namespace galago::backend {

kernels::Choice kernel_choice(const TokenChoice& choice) {
  constexpr double log2_e = 1.4426950408889634;
  kernels::Choice how;
  if (choice.temperature > 0) how.scale = std::ldexp(log2_e / choice.temperature, 32);
  how.penalty = static_cast<float>(choice.repetition_penalty);
  how.top_k = choice.top_k;
  if (choice.top_p < 1) {
    how.top_p = std::max<std::uint64_t>(static_cast<std::uint64_t>(std::ldexp(choice.top_p, 64)), 1);
  }
  how.least_weight = static_cast<std::uint64_t>(std::ceil(std::ldexp(choice.min_p, kernels::weight_bits)));
  how.random = choice.random;
  return how;
}

}  // namespace galago::backend
