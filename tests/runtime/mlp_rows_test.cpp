// An MLP over a few of a step's rows at a time takes the memory of those, and is what a budget asks for
// first. That it gives the same numbers is a matter of parity_test.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "checkpoint/scratch.h"
#include "galago/galago.h"
#include "support/sanitizer.h"

namespace galago::runtime {
namespace {

/// Of a plan with so many rows at once.
std::uint64_t activations(EngineOptions options, std::int64_t rows) {
  options.mlp_rows = rows;
  const Plan plan = plan_model(options);
  const auto is_it = [](const RegionPlan& region) { return region.name == "activations"; };
  return std::find_if(plan.regions.begin(), plan.regions.end(), is_it)->bytes;
}

/// A decoder in FP32 whose MLP, of 14,336, needs more than its attention. Chunks are of 512.
EngineOptions wide_mlp() {
  EngineOptions options;
  options.shape = "llava-1.6-mistral-7b";
  options.precision = Precision::fp32;
  options.threads = 2;
  return options;
}

TEST(MlpRows, TakeTheBytesOfSoManyAtOnce) {
  EngineOptions options = wide_mlp();
  const std::uint64_t all = activations(options, 0);
  EXPECT_EQ(activations(options, 512), all);
  EXPECT_EQ(all - activations(options, 300), (512U - 300) * 14336 * sizeof(float));
  EXPECT_LT(activations(options, 128), activations(options, 300));
  EXPECT_EQ(activations(options, 64), activations(options, 128)) << "attention needs more than so few";
  options.prefill_chunk = 128;
  EXPECT_EQ(activations(options, 200), activations(options, 0)) << "no step has so many";
  options.mlp_rows = -1;
  test::expect_says(test::error_of(ErrorCode::usage, [&] { plan_model(options); }), "-1 rows in an MLP");
}

#if defined(GALAGO_WITH_EMULATED_CUDA)
TEST(MlpRows, LeaveALlamaOnADeviceWhatAttentionNeeds) {
  EngineOptions options;
  options.shape = "llama-7b";
  options.context = 2048;
  options.device = "cuda-emulated";
  // Gate beside up, and their product; in the end query, key and value need more.
  const std::uint64_t all = activations(options, 0);
  EXPECT_EQ(all - activations(options, 256), (512U - 256) * 3 * 11008 * sizeof(float));
  EXPECT_EQ(all - activations(options, 128), 512U * (3 * 11008 - 3 * 4096) * sizeof(float));
}
#endif

TEST(MlpRows, AreWhatABudgetGivesUpFirst) {
  // What the process may gain from one plan to the next is less than half of what they save.
  if (test::keeps_freed_memory) GTEST_SKIP() << "the process grows by more than they save";
  EngineOptions options = wide_mlp();
  options.memory_limit = std::uint64_t{64} << 30;
  const Plan ample = plan_model(options);
  EXPECT_EQ(ample.mlp_rows, 0);
  ASSERT_GE(ample.ladder.size(), 2U);
  const PlanCandidate& best = ample.ladder[0];
  const PlanCandidate& next = ample.ladder[1];
  const std::string rows = ", 256 rows in an MLP";
  const std::size_t at = next.choice.find(rows);
  ASSERT_NE(at, std::string::npos) << next.choice;
  EXPECT_EQ(std::string(next.choice).erase(at, rows.size()), best.choice);
  options.memory_limit = (best.peak_bytes + next.peak_bytes) / 2;
  const Plan tight = plan_model(options);
  EXPECT_EQ(tight.choice, next.choice);
  EXPECT_EQ(tight.mlp_rows, 256);
  EXPECT_EQ(tight.prefill_chunk, 512);
}

TEST(MlpRows, ThatAreFixedStayUnderABudget) {
  EngineOptions options = wide_mlp();
  options.mlp_rows = 48;
  options.memory_limit = std::uint64_t{64} << 30;
  for (const PlanCandidate& candidate : plan_model(options).ladder) {
    const bool has_more_rows = candidate.choice.find("chunks of 32,") == std::string::npos;
    EXPECT_EQ(candidate.choice.find(", 48 rows in an MLP") != std::string::npos, has_more_rows)
        << candidate.choice;
  }
}

}  // namespace
}  // namespace galago::runtime
