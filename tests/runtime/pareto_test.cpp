// The choices worth having, and the what-if table's times.
#include <gtest/gtest.h>

#include <algorithm>

#include "checkpoint/scratch.h"
#include "galago/plan.h"
#include "runtime/plan/quality.h"

namespace galago::testing {
namespace {

EngineOptions on_a_card(const char* shape) {
  EngineOptions options;
  options.shape = shape;
  options.device = "rtx4060";
  options.workload = Workload{"", 1, 64};
  return options;
}

bool beats(const ParetoRow& a, const ParetoRow& b) {
  return a.perplexity_percent <= b.perplexity_percent && a.accuracy_points <= b.accuracy_points &&
         a.peak_bytes < b.peak_bytes && a.request_seconds < b.request_seconds;
}

TEST(Pareto, NoChoiceIsBeatenAndAllFit) {
  const auto rows = plan_pareto(on_a_card("llava-1.5-7b"));
  ASSERT_GT(rows.size(), 3U);
  for (const ParetoRow& row : rows) {
    EXPECT_LE(row.peak_bytes, std::uint64_t{8} << 30);
    EXPECT_GT(row.tokens_per_second, 0);
    for (const ParetoRow& other : rows)
      EXPECT_FALSE(beats(other, row)) << other.choice << " > " << row.choice;
  }
  // 14 GB of FP16 in 8: only with layers on disk; the fastest choice keeps them in memory.
  EXPECT_EQ(rows.front().perplexity_percent, 0);
  EXPECT_NE(rows.front().choice.find("streamed"), std::string::npos);
  const auto fastest = std::min_element(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.request_seconds < b.request_seconds;
  });
  EXPECT_EQ(fastest->choice.find("streamed"), std::string::npos);
}

TEST(Pareto, LeavesAloneWhatTheUserFixed) {
  EngineOptions options = on_a_card("llama-7b");
  options.precision = Precision::int4;
  options.kv = KvPrecision::int8;
  for (const ParetoRow& row : plan_pareto(options)) {
    EXPECT_NE(row.choice.find("decoder int4"), std::string::npos) << row.choice;
    EXPECT_NE(row.choice.find("KV int8"), std::string::npos) << row.choice;
    EXPECT_EQ(row.accuracy_points, 0) << "a text model has no tower";
  }
}

TEST(Pareto, SaysByHowMuchTheSmallestChoiceMissesTheBudget) {
  EngineOptions options = on_a_card("llama-7b");
  options.memory_limit = 64 << 20;
  test::expect_says(test::error_of(ErrorCode::memory, [&] { plan_pareto(options); }), "bytes too few");
}

TEST(Quality, AMistakeInItsFileIsOurs) {
  test::expect_says(test::error_of(ErrorCode::internal,
                                   [] {
                                     runtime::parse_quality({"quality.json", "{}"});
                                   }),
                    "quality.json");
}

TEST(Quality, WhatIsNotListedOrWasGainedIsNoLoss) {
  const runtime::QualityLosses losses = runtime::parse_quality(
      {"quality.json",
       R"({"decoder_perplexity_percent": {"int4": 1.5}, "kv_perplexity_percent": {"int8": -0.1},
                           "tower_accuracy_points": {}, "divergence_nats": {"decoder": {}, "embeddings": {}, "output": {},
                           "tower": {}, "kv": {"int4": 0.5}}})"});
  EXPECT_EQ(runtime::loss_of(losses.decoder_perplexity_percent, "int4"), 1.5);
  EXPECT_EQ(runtime::loss_of(losses.decoder_perplexity_percent, "fp16"), 0);
  EXPECT_EQ(runtime::loss_of(losses.kv_perplexity_percent, "int8"), 0);
  EXPECT_EQ(runtime::loss_of(losses.divergence_nats.kv, "int4"), 0.5);
}

}  // namespace
}  // namespace galago::testing
