#include "runtime/sampler.h"

#include <algorithm>

#include "base/fail.h"

namespace galago::runtime {

void check_sampling(const SamplingOptions& options) {
  if (!(options.temperature >= 0) || options.temperature > 100) {
    fail(ErrorCode::usage, "temperature is {}, expected a number from 0 (greedy) to 100",
         options.temperature);
  }
  if (options.top_k < 0) fail(ErrorCode::usage, "top-k is {}, expected 0 (all) or more", options.top_k);
  if (!(options.top_p > 0) || options.top_p > 1) {
    fail(ErrorCode::usage, "top-p is {}, expected a number above 0 and at most 1", options.top_p);
  }
  if (!(options.min_p >= 0) || options.min_p > 1) {
    fail(ErrorCode::usage, "min-p is {}, expected a number from 0 to 1", options.min_p);
  }
  if (!(options.repetition_penalty > 0)) {
    fail(ErrorCode::usage, "repetition penalty is {}, expected a number above 0 (1: none)",
         options.repetition_penalty);
  }
  if (options.max_new_tokens < 1) {
    fail(ErrorCode::usage, "max-new-tokens is {}, expected 1 or more", options.max_new_tokens);
  }
}

Sampler::Sampler(const SamplingOptions& options, std::int64_t vocab_size)
    : choice_{.temperature = options.temperature,
              .top_k = options.top_k,
              .top_p = options.top_p,
              .min_p = options.min_p,
              .repetition_penalty = options.repetition_penalty},
      random_(options.seed),
      vocab_size_(vocab_size) {
  check_sampling(options);
  if (options.repetition_penalty != 1) {
    said_.resize(static_cast<std::size_t>(kernels::said_words(vocab_size)));
  }
}

backend::TokenChoice Sampler::next(std::span<const std::int32_t> context) {
  if (choice_.temperature > 0) choice_.random = random_();
  if (!said_.empty()) take_note_of(context);
  return choice_;
}

void Sampler::take_note_of(std::span<const std::int32_t> context) {
  std::fill(said_.begin(), said_.end(), 0U);
  for (const std::int32_t token : context) {
    // Marks of pictures are none of the vocabulary's.
    if (token < 0 || token >= vocab_size_) continue;
    said_[static_cast<std::size_t>(token) / 32] |= 1U << token % 32;
  }
  choice_.said = said_;
}

}  // namespace galago::runtime
