// What the sampler's choices come to on the CPU, and the options that it refuses.
#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "galago/error.h"
#include "support/choosing.h"

namespace galago::runtime {
namespace {

constexpr std::array<float, 5> logits{1.0F, 3.0F, 2.0F, 3.0F, -5.0F};

/// The sampler's next `n` tokens.
std::vector<std::int32_t> next(Sampler& sampler, std::size_t n = 1,
                               std::span<const std::int32_t> context = {}) {
  static const auto backend = backend::make_cpu_backend(1);
  std::vector<backend::TokenChoice> choices;
  std::vector<float> rows;
  for (std::size_t i = 0; i < n; ++i) {
    choices.push_back(sampler.next(context));
    rows.insert(rows.end(), logits.begin(), logits.end());
  }
  return test::choose(*backend, rows, choices);
}

std::map<std::int32_t, int> draw(const SamplingOptions& options, std::size_t n = 4000) {
  Sampler sampler(options, logits.size());
  std::map<std::int32_t, int> counts;
  for (const std::int32_t token : next(sampler, n)) ++counts[token];
  return counts;
}

TEST(Sampler, GreedyTakesTheFirstOfEquals) {
  Sampler sampler({}, 5);
  EXPECT_EQ(next(sampler).front(), 1);
}

TEST(Sampler, TemperatureOneDrawsBySoftmax) {
  SamplingOptions options;
  options.temperature = 1;
  const auto counts = draw(options, 20000);
  // e^3 / (2 e^3 + e^2 + e + e^-5) = 0.399
  EXPECT_NEAR(counts.at(1) / 20000.0, 0.399, 0.015);
  EXPECT_NEAR(counts.at(3) / 20000.0, 0.399, 0.015);
  EXPECT_NEAR(counts.at(2) / 20000.0, 0.147, 0.012);
}

TEST(Sampler, TheSameSeedDrawsTheSame) {
  SamplingOptions options;
  options.temperature = 2;
  options.seed = 7;
  Sampler one(options, 5);
  Sampler two(options, 5);
  EXPECT_EQ(next(one, 100), next(two, 100));
}

TEST(Sampler, TopKTopPAndMinPDropTheTail) {
  SamplingOptions options;
  options.temperature = 1;
  options.top_k = 2;
  EXPECT_EQ(draw(options).size(), 2U);
  options.top_k = 0;
  options.top_p = 0.75;  // two of 0.399 each reach it
  EXPECT_EQ(draw(options).size(), 2U);
  options.top_p = 1;
  options.min_p = 0.3;  // e^-1 = 0.37 stays, e^-2 goes
  EXPECT_EQ(draw(options).size(), 3U);
  options.top_p = 1e-9;
  EXPECT_EQ(draw(options).size(), 1U) << "one candidate always stays";
}

TEST(Sampler, RepetitionPenaltyTurnsAwayFromWhatWasSaid) {
  SamplingOptions options;
  options.repetition_penalty = 2;
  Sampler sampler(options, 5);
  const std::array<std::int32_t, 3> said{1, 3, -200};  // a picture's mark among them
  EXPECT_EQ(next(sampler, 1, said).front(), 2);
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const auto refused = [](auto&& change) {
    SamplingOptions options;
    change(options);
    try {
      check_sampling(options);
    } catch (const Error& error) {
      return error.code() == ErrorCode::usage;
    }
    return false;
  };
  EXPECT_FALSE(refused([](SamplingOptions&) {}));
  EXPECT_TRUE(refused([](SamplingOptions& o) { o.temperature = -0.1; }));
  EXPECT_TRUE(refused([](SamplingOptions& o) { o.temperature = std::numeric_limits<double>::quiet_NaN(); }));
  EXPECT_TRUE(refused([](SamplingOptions& o) { o.top_k = -1; }));
  EXPECT_TRUE(refused([](SamplingOptions& o) { o.top_p = 0; }));
  EXPECT_TRUE(refused([](SamplingOptions& o) { o.min_p = 1.5; }));
  EXPECT_TRUE(refused([](SamplingOptions& o) { o.repetition_penalty = 0; }));
  EXPECT_TRUE(refused([](SamplingOptions& o) { o.max_new_tokens = 0; }));
}

}  // namespace
}  // namespace galago::runtime
