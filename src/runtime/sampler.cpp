#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>

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

std::int32_t greedy(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

Sampler::Sampler(const SamplingOptions& options, std::int64_t vocab_size)
    : options_(options), random_(options.seed) {
  check_sampling(options);
  candidates_.reserve(static_cast<std::size_t>(vocab_size));
  seen_.resize(static_cast<std::size_t>(vocab_size));
}

std::int32_t Sampler::next(std::span<const float> logits, std::span<const std::int32_t> context) {
  const bool penalised = options_.repetition_penalty != 1;
  if (options_.temperature == 0 && !penalised) return greedy(logits);
  candidates_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i)
    candidates_.push_back({static_cast<std::int32_t>(i), logits[i], 0});
  if (penalised) penalise_repetitions(context);
  if (options_.temperature == 0) {
    const auto less = [](const Candidate& a, const Candidate& b) { return a.logit < b.logit; };
    return std::max_element(candidates_.begin(), candidates_.end(), less)->token;
  }
  keep_likeliest();
  return draw();
}

// CTRL's penalty: logits of tokens that were there already are divided by it, or multiplied where they are
// negative.
void Sampler::penalise_repetitions(std::span<const std::int32_t> context) {
  std::fill(seen_.begin(), seen_.end(), char{0});
  for (const std::int32_t token : context) {
    if (token >= 0 && static_cast<std::size_t>(token) < seen_.size())
      seen_[static_cast<std::size_t>(token)] = 1;
  }
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  for (Candidate& candidate : candidates_) {
    if (seen_[static_cast<std::size_t>(candidate.token)] == 0) continue;
    candidate.logit = candidate.logit > 0 ? candidate.logit / penalty : candidate.logit * penalty;
  }
}

// Sorts by probability and drops the tail that top-k, top-p and min-p exclude. At least one stays.
void Sampler::keep_likeliest() {
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  if (options_.top_k > 0 && static_cast<std::size_t>(options_.top_k) < candidates_.size()) {
    const auto end = candidates_.begin() + options_.top_k;
    std::partial_sort(candidates_.begin(), end, candidates_.end(), likelier);
    candidates_.erase(end, candidates_.end());
  } else {
    std::sort(candidates_.begin(), candidates_.end(), likelier);
  }
  double sum = 0;
  for (Candidate& candidate : candidates_) {
    candidate.probability =
        std::exp((static_cast<double>(candidate.logit) - candidates_.front().logit) / options_.temperature);
    sum += candidate.probability;
  }
  const double least = options_.min_p * candidates_.front().probability;
  double kept = 0;
  std::size_t n = 0;
  while (n < candidates_.size() &&
         (n == 0 || (kept < options_.top_p * sum && candidates_[n].probability >= least))) {
    kept += candidates_[n++].probability;
  }
  candidates_.erase(candidates_.begin() + static_cast<std::ptrdiff_t>(n), candidates_.end());
}

std::int32_t Sampler::draw() {
  double sum = 0;
  for (const Candidate& candidate : candidates_) sum += candidate.probability;
  // 53 random bits: the same on every platform, which std::uniform_real_distribution does not promise.
  double left = std::ldexp(static_cast<double>(random_() >> 11), -53) * sum;
  for (const Candidate& candidate : candidates_) {
    left -= candidate.probability;
    if (left < 0) return candidate.token;
  }
  return candidates_.back().token;
}

}  // namespace galago::runtime
