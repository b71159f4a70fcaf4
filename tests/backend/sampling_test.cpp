// Tokens are chosen as the plain definition says, and by a device as by the CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "simt/fault.h"
#include "support/choosing.h"

namespace galago::backend {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float no_number = std::numeric_limits<float>::quiet_NaN();

/// Rows of logits, and how a token is chosen from each.
struct Rows {
  std::int64_t cols = 0;
  std::vector<float> logits;
  std::vector<std::vector<std::uint32_t>> said;
  std::vector<TokenChoice> choices;

  std::span<const float> row(std::size_t i) const {
    return std::span(logits).subspan(i * static_cast<std::size_t>(cols), static_cast<std::size_t>(cols));
  }
};

template <class T>
T one_of(std::mt19937_64& random, std::initializer_list<T> values) {
  return values.begin()[random() % values.size()];
}

/// Every row in its own way: all settings, logits with and without equal ones.
Rows random_rows(std::size_t n, std::int64_t cols, std::mt19937_64& random) {
  Rows rows{cols, {}, {}, {}};
  for (std::size_t i = 0; i < n; ++i) {
    const float spread = one_of(random, {0.1F, 3.0F, 12.0F});
    const bool has_equals = random() % 3 == 0;
    std::normal_distribution<float> normal(0, spread);
    for (std::int64_t j = 0; j < cols; ++j) {
      const float logit = normal(random);
      rows.logits.push_back(has_equals ? std::round(logit) : logit);
    }
    auto& said = rows.said.emplace_back(static_cast<std::size_t>(kernels::said_words(cols)));
    for (std::uint32_t& word : said) word = static_cast<std::uint32_t>(random() & random());
    TokenChoice choice{.temperature = one_of(random, {0.0, 0.3, 1.0, 1.0, 7.5}),
                       .top_k = one_of<std::int64_t>(random, {0, 0, 1, 2, 40, cols, cols + 1}),
                       .top_p = one_of(random, {1.0, 1.0, 0.95, 0.5, 1e-9}),
                       .min_p = one_of(random, {0.0, 0.0, 0.05, 0.4, 1.0}),
                       .repetition_penalty = one_of(random, {1.0, 1.0, 1.3, 0.8}),
                       .random = random()};
    rows.choices.push_back(choice);
  }
  // Their memory stays where it is from here on.
  for (std::size_t i = 0; i < n; ++i) {
    if (rows.choices[i].repetition_penalty != 1) rows.choices[i].said = rows.said[i];
  }
  return rows;
}

/// The definition, in floating point: sorted by logit, what top-k, top-p and min-p exclude dropped, drawn by
/// probability.
std::int32_t plainly_chosen(std::span<const float> row, const TokenChoice& choice) {
  std::vector<float> logits(row.begin(), row.end());
  const auto penalty = static_cast<float>(choice.repetition_penalty);
  for (std::size_t i = 0; i < logits.size() && !choice.said.empty(); ++i) {
    if (was_said(choice.said, i)) logits[i] = logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty;
  }
  std::vector<std::int32_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto logit = [&](std::int32_t token) { return logits[static_cast<std::size_t>(token)]; };
  std::stable_sort(tokens.begin(), tokens.end(),
                   [&](std::int32_t a, std::int32_t b) { return logit(a) > logit(b); });
  if (choice.temperature == 0) return tokens.front();
  if (choice.top_k > 0 && choice.top_k < static_cast<std::int64_t>(tokens.size())) {
    tokens.resize(static_cast<std::size_t>(choice.top_k));
  }
  const auto probability = [&](std::int32_t token) {
    return std::exp((static_cast<double>(logit(token)) - logit(tokens.front())) / choice.temperature);
  };
  double sum = 0;
  for (const std::int32_t token : tokens) sum += probability(token);
  double kept = 0;
  std::size_t n = 0;
  while (n < tokens.size() &&
         (n == 0 || (kept < choice.top_p * sum && probability(tokens[n]) >= choice.min_p))) {
    kept += probability(tokens[n++]);
  }
  double left = std::ldexp(static_cast<double>(choice.random), -64) * kept;
  for (std::size_t i = 0; i < n; ++i) {
    left -= probability(tokens[i]);
    if (left < 0) return tokens[i];
  }
  return tokens[n - 1];
}

TEST(Choosing, IsByTheDefinition) {
  const auto backend = make_cpu_backend(1);
  std::mt19937_64 random(1);
  for (const std::int64_t cols : {1, 2, 33, 500, 3001}) {
    const Rows rows = random_rows(1000, cols, random);
    const std::vector<std::int32_t> tokens = test::choose(*backend, rows.logits, rows.choices);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      ASSERT_EQ(tokens[i], plainly_chosen(rows.row(i), rows.choices[i])) << "row " << i << " of " << cols;
    }
  }
}

TEST(Choosing, TakesTheFirstOfTheLargestWhereNothingCanBeWeighed) {
  const auto cpu = make_cpu_backend(1);
  const auto device = emulated::make_backend(0, CudaProducts::tensor_cores);
  struct Case {
    std::vector<float> logits;
    std::int32_t greedy, drawn;
  };
  // Drawn with the largest random number there is: the last of what is kept.
  const std::vector<Case> cases{
      {{1, infinity, infinity, 2}, 1, 1},
      {{-infinity, -infinity, -infinity, -infinity}, 0, 0},
      {{no_number, no_number, no_number, no_number}, 0, 0},
      {{no_number, 1, 1, no_number}, 1, 2},
      {{-infinity, 3, -infinity, 3}, 1, 3},
      {{5, 5, 5, 5}, 0, 3},
      {{-0.0F, 0.0F, -1e30F, -1e30F}, 0, 1},
  };
  for (const Case& one : cases) {
    const TokenChoice greedy;
    const TokenChoice drawn{.temperature = 1, .random = ~std::uint64_t{0}};
    for (Backend* backend : {cpu.get(), device.get()}) {
      EXPECT_EQ(test::choose(*backend, one.logits, {&greedy, 1}).front(), one.greedy) << backend->name();
      EXPECT_EQ(test::choose(*backend, one.logits, {&drawn, 1}).front(), one.drawn) << backend->name();
    }
  }
}

TEST(Choosing, OnADeviceIsTheCpusToTheToken) {
  const auto cpu = make_cpu_backend(1);
  const auto device = emulated::make_backend(0, CudaProducts::tensor_cores);
  std::mt19937_64 random(2);
  const auto compare = [&](std::size_t n, std::int64_t cols) {
    const Rows rows = random_rows(n, cols, random);
    EXPECT_EQ(test::choose(*device, rows.logits, rows.choices), test::choose(*cpu, rows.logits, rows.choices))
        << cols << " columns";
  };
  for (const std::int64_t cols : {1, 2, 31, 97, 256, 500}) compare(500, cols);
  compare(33, 3001);
  compare(6, 32000);
}

TEST(Choosing, OnADeviceHasNoMistakeTheDetectorsFind) {
  const auto device = emulated::make_backend(0, CudaProducts::tensor_cores);
  simt::set_checks(simt::Checks::and_races);
  std::mt19937_64 random(3);
  const Rows rows = random_rows(20, 600, random);
  const auto tokens = test::choose(*device, rows.logits, rows.choices);
  simt::set_checks(simt::Checks::usual);
  for (const std::int32_t token : tokens) EXPECT_TRUE(token >= 0 && token < 600);
}

}  // namespace
}  // namespace galago::backend
