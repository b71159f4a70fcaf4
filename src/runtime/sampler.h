// Chooses the next token from the logits.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "galago/options.h"

namespace galago::runtime {

/// Throws Error{usage} naming the option that is out of range.
void check_sampling(const SamplingOptions& options);

class Sampler {
 public:
  /// Throws as check_sampling() does. Room for `vocab_size` candidates is taken now.
  Sampler(const SamplingOptions& options, std::int64_t vocab_size);

  /// The next token after `context`, which the repetition penalty looks at. `logits` [vocab_size] are left as
  /// they are.
  std::int32_t next(std::span<const float> logits, std::span<const std::int32_t> context);

 private:
  struct Candidate {
    std::int32_t token;
    float logit;
    double probability;
  };

  void penalise_repetitions(std::span<const std::int32_t> context);
  void keep_likeliest();
  std::int32_t draw();

  SamplingOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;
  std::vector<char> seen_;  // [vocab_size]
};

/// The token of the largest logit; of equal ones the first.
std::int32_t greedy(std::span<const float> logits);

}  // namespace galago::runtime
