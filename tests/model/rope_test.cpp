// Rotary frequencies under every scaling, against what transformers 5.23 computes for the same configuration.
#include "model/rope.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "backend/cpu/cpu_backend.h"
#include "galago/error.h"

namespace galago::model {
namespace {

using nlohmann::json;

/// A decoder with heads of 16 that was trained on 4096 positions.
Rope rope_of(const json& scaling, double theta, const json& more = json::object()) {
  json decoder = {{"rope_theta", theta}, {"max_context", 4096}, {"rope_scaling", scaling}};
  decoder.update(more);
  return describe_rope(decoder, 16, "dir");
}

void expect_frequencies(std::span<const float> found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i] / expected[i], 1, 2e-7) << i;
}

TEST(Rope, WithoutScalingHoldsForAnyLength) {
  const Rope rope = rope_of(nullptr, 10000);
  expect_frequencies(rope.frequencies,
                     {1, 0.316227764, 0.1, 0.0316227786, 0.01, 0.00316227786, 0.001, 0.000316227786});
  EXPECT_EQ(rope.turned(), 16);
  EXPECT_EQ(rope.max_context, 4096);
  EXPECT_TRUE(rope.same_frequencies(1, 4096));
  EXPECT_FALSE(rope.switches_at(4097));
}

TEST(Rope, Linear) {
  expect_frequencies(
      rope_of({{"type", "linear"}, {"factor", 4.0}}, 10000).frequencies,
      {0.25, 0.079056941, 0.025, 0.00790569466, 0.0025, 0.000790569466, 0.00025, 7.90569466e-05});
}

TEST(Rope, Llama3StretchesLongWavesOnly) {
  const json scaling = {{"type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 256}};
  expect_frequencies(rope_of(scaling, 500000).frequencies,
                     {1, 0.193922758, 0.0105382307, 0.000911583134, 0.000176776681, 3.42810235e-05,
                      6.64786967e-06, 1.28917316e-06});
}

TEST(Rope, Yarn) {
  const Rope rope =
      rope_of({{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 1024}}, 1e6);
  expect_frequencies(rope.frequencies, {1, 0.133370951, 0.0158113893, 0.00140585331, 0.00025, 4.44569851e-05,
                                        7.90569356e-06, 1.40585337e-06});
  EXPECT_FLOAT_EQ(rope.scale, 1.138629436F);
}

TEST(Rope, DynamicIsPlainWithinTheTrainedLengthAndFollowsTheLengthBeyond) {
  const Rope rope = rope_of({{"type", "dynamic"}, {"factor", 2.0}}, 10000);
  EXPECT_EQ(rope.frequencies, rope_of(nullptr, 10000).frequencies);
  EXPECT_EQ(rope.max_context, 8192);
  EXPECT_TRUE(rope.same_frequencies(10, 4096));
  EXPECT_FALSE(rope.same_frequencies(4096, 4097));
  EXPECT_FALSE(rope.same_frequencies(5000, 5000)) << "keys were stored while the base still grew";

  const auto backend = backend::make_cpu_backend(1);
  memory::Arena arena = memory::Arena::reserved({});
  backend::Queue queue(memory::Mode::run);
  backend::Execution exec{arena, queue};
  std::vector<float> frequencies(8);
  backend->rope_frequencies(exec, rope.dynamic_base(5000), rope.dimensions, frequencies);
  expect_frequencies(frequencies, {1, 0.300134718, 0.0900808498, 0.0270363893, 0.00811455864, 0.00243546092,
                                   0.000730966276, 0.000219388356});
  backend->rope_frequencies(exec, rope.dynamic_base(8192), rope.dimensions, frequencies);
  expect_frequencies(frequencies, {1, 0.270296127, 0.0730599985, 0.0197478328, 0.00533776311, 0.00144277664,
                                   0.000389976951, 0.000105409265});
}

TEST(Rope, LongropeHasFactorsForShortAndForLongTexts) {
  const json scaling = {{"type", "longrope"},
                        {"short_factor", {1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7}},
                        {"long_factor", {1, 2, 3, 4, 5, 6, 7, 8}}};
  const Rope rope = rope_of(scaling, 10000, {{"rope_original_context", 1024}});
  expect_frequencies(rope.frequencies, {1, 0.287479758, 0.0833333358, 0.0243252143, 0.00714285718,
                                        0.00210818532, 0.000624999986, 0.000186016332});
  expect_frequencies(rope.long_frequencies, {1, 0.158113882, 0.0333333351, 0.00790569466, 0.002,
                                             0.00052704633, 0.000142857141, 3.95284733e-05});
  EXPECT_FLOAT_EQ(rope.scale, 1.095445115F) << "the scale holds for short texts too";
  EXPECT_FALSE(rope.switches_at(1024));
  EXPECT_TRUE(rope.switches_at(1025));
  EXPECT_FALSE(rope.switches_at(1026));
  EXPECT_FALSE(rope.same_frequencies(1024, 1025));
  EXPECT_TRUE(rope.same_frequencies(2000, 1025));
}

TEST(Rope, APartOfEachHeadMayStayUnturned) {
  const Rope rope = rope_of({{"type", "linear"}, {"factor", 2.0}}, 10000, {{"partial_rotary", 0.5}});
  expect_frequencies(rope.frequencies, {0.5, 0.05, 0.005, 0.0005});
  EXPECT_EQ(rope.turned(), 8);
}

TEST(Rope, RefusesWhatCannotBe) {
  const auto refusal = [](const json& scaling, const json& more = json::object()) -> std::string {
    try {
      rope_of(scaling, 10000, more);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::model);
      return error.what();
    }
    return "nothing was thrown";
  };
  const auto says = [](const std::string& sentence, const char* part) {
    EXPECT_NE(sentence.find(part), std::string::npos) << sentence;
  };
  says(refusal({{"type", "mrope"}}), "dir: rope_scaling is of type \"mrope\"");
  says(refusal({{"type", "linear"}}), "factor");
  says(refusal({{"type", "linear"}, {"factor", 0}}), "expected a positive number");
  says(refusal({{"type", "linear"}, {"factor", "4"}}), "factor");
  says(refusal({{"type", "dynamic"}, {"factor", 0.5}}), "expected 1 or more");
  says(refusal({{"type", "longrope"}, {"short_factor", {1, 2}}}), "a list of 2, expected 8 numbers");
  says(refusal({{"type", "longrope"}, {"short_factor", {1, 1, 1, 1, 1, 1, 1, -1}}}), "positive numbers");
  says(refusal(nullptr, {{"partial_rotary", 0.01}}), "0 of a head's 16");
}

}  // namespace
}  // namespace galago::model
