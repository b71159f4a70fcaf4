// How a request wants its tokens chosen, and its random numbers.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "backend/token_choice.h"
#include "galago/options.h"

namespace galago::runtime {

/// Throws Error{usage} naming the option that is out of range.
void check_sampling(const SamplingOptions& options);

class Sampler {
 public:
  /// Throws as check_sampling() does.
  Sampler(const SamplingOptions& options, std::int64_t vocab_size);

  /// How the next token after `context`, which the repetition penalty looks at, is chosen. Asked once a
  /// token: each draws another random number. Valid until the next call.
  backend::TokenChoice next(std::span<const std::int32_t> context);

 private:
  void take_note_of(std::span<const std::int32_t> context);

  backend::TokenChoice choice_;
  std::mt19937_64 random_;
  std::int64_t vocab_size_;
  std::vector<std::uint32_t> said_;  // a bit a token; with a penalty only
};

}  // namespace galago::runtime
