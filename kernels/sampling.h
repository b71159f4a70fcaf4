// How a token is chosen from logits, in whole numbers: their sums are the same in every order, so that all
// devices agree on every border. The only floating-point operations round alike everywhere: one each of
// division or product (the penalty), subtraction, product and conversion, none of which can be fused.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define GALAGO_HOST_DEVICE __host__ __device__
#else
#define GALAGO_HOST_DEVICE
#endif

namespace galago::kernels {

/// What one row's choice depends on besides its logits.
struct Choice {
  double scale = 0;                ///< 2^32 log2(e) / temperature; 0: the largest logit is chosen
  float penalty = 1;               ///< on logits of tokens that were said (arXiv:1909.05858); 1: none
  std::int64_t top_k = 0;          ///< 0: all
  std::uint64_t top_p = 0;         ///< of 2^64; 0: all
  std::uint64_t least_weight = 0;  ///< min-p, of whole_weight
  std::uint64_t random = 0;        ///< of 2^64
};

/// The likeliest token's weight. Others weigh less by their probability; those below 2^-40 of it nothing.
inline constexpr int weight_bits = 40;
inline constexpr std::uint64_t whole_weight = std::uint64_t{1} << weight_bits;

/// Words that hold a bit for each token, which says whether the penalty falls on it.
GALAGO_HOST_DEVICE constexpr std::int64_t said_words(std::int64_t vocab_size) {
  return (vocab_size + 31) / 32;
}

GALAGO_HOST_DEVICE inline float penalised(float logit, float penalty) {
  return logit > 0 ? logit / penalty : logit * penalty;
}

/// Larger for larger logits, equal for equal ones. What is no number comes last.
GALAGO_HOST_DEVICE inline std::uint32_t rank_of(float logit) {
  if (logit != logit) return 0;
  if (logit == 0) logit = 0;  // which may be -0
  std::uint32_t bits = 0;
  memcpy(&bits, &logit, sizeof bits);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
}

/// The logit of a rank.
GALAGO_HOST_DEVICE inline float logit_of(std::uint32_t rank) {
  const std::uint32_t bits = (rank >> 31) != 0 ? rank & 0x7fffffffU : ~rank;
  float logit = 0;
  memcpy(&logit, &bits, sizeof bits);
  return logit;
}

/// The order in which tokens are kept and drawn, the largest first: by logit, of equal ones by token.
GALAGO_HOST_DEVICE inline std::uint64_t order_of(float logit, std::uint32_t token) {
  return static_cast<std::uint64_t>(rank_of(logit)) << 32 | static_cast<std::uint32_t>(~token);
}
GALAGO_HOST_DEVICE inline float logit_in(std::uint64_t order) {
  return logit_of(static_cast<std::uint32_t>(order >> 32));
}
GALAGO_HOST_DEVICE inline std::int32_t token_in(std::uint64_t order) {
  return static_cast<std::int32_t>(~static_cast<std::uint32_t>(order));
}

/// The upper half of a product.
GALAGO_HOST_DEVICE inline std::uint64_t high_product(std::uint64_t a, std::uint64_t b) {
  constexpr std::uint64_t half = 0xffffffffU;
  const std::uint64_t low = (a & half) * (b & half);
  const std::uint64_t left = (a >> 32) * (b & half) + (low >> 32);
  const std::uint64_t right = (a & half) * (b >> 32) + (left & half);
  return (a >> 32) * (b >> 32) + (left >> 32) + (right >> 32);
}

/// 2^-(fraction / 2^32) times 2^32, by exp()'s series: 12 terms, beyond which none reaches 2^-32.
GALAGO_HOST_DEVICE inline std::uint64_t power_of_two_below(std::uint32_t fraction) {
  constexpr std::uint64_t log_2 = 2977044472U;  // of 2^32
  constexpr std::uint64_t one = std::uint64_t{1} << 32;
  const std::uint64_t y = fraction * log_2 >> 32;
  std::uint64_t sum = one;
  for (unsigned i = 12; i >= 1; --i) sum = one - (y * sum >> 32) / i;
  return sum;
}

/// e^((logit - largest) / temperature) of whole_weight. `largest` is finite.
GALAGO_HOST_DEVICE inline std::uint64_t weight_of(float logit, float largest, double scale) {
  if (logit == largest) return whole_weight;
  const double exponent = (static_cast<double>(largest) - static_cast<double>(logit)) * scale;
  constexpr double beyond = static_cast<double>(std::uint64_t{weight_bits + 1} << 32);
  if (!(exponent < beyond)) return 0;  // no number neither
  const auto fixed = static_cast<std::uint64_t>(exponent);
  return power_of_two_below(static_cast<std::uint32_t>(fixed)) << (weight_bits - 32) >> (fixed >> 32);
}

GALAGO_HOST_DEVICE inline bool is_finite(float logit) {
  return logit - logit == 0;
}

/// What the tokens kept by top-p must weigh at least, of a sum.
GALAGO_HOST_DEVICE inline std::uint64_t nucleus_of(std::uint64_t top_p, std::uint64_t sum) {
  const std::uint64_t floor = high_product(top_p, sum) + (top_p * sum != 0 ? 1 : 0);
  return floor > 0 ? floor : 1;
}

/// The first token is drawn whose weight, with all before it, reaches this.
GALAGO_HOST_DEVICE inline std::uint64_t drawn_weight(std::uint64_t random, std::uint64_t sum) {
  return high_product(random, sum) + 1;
}

}  // namespace galago::kernels
