// What a run tells of itself agrees with what was planned and with what its queue counted.
#include "galago/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/scratch.h"
#include "galago/galago.h"

namespace galago::testing {
namespace {

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

EngineOptions options_of(const char* folder) {
  EngineOptions options;
  options.model = goldens / folder;
  options.workload = Workload{"Describe the picture.", 1, 4};
  return options;
}

Request request_of(const EngineOptions& options) {
  Request request;
  request.messages = {{Role::user, options.workload->prompt, {load_image(goldens / "images/wide.jpg")}}};
  request.sampling.max_new_tokens = 4;
  request.sampling.ignore_end = true;
  return request;
}

std::vector<std::string> names_of(const MemoryReport& report) {
  std::vector<std::string> names;
  for (const PhaseUse& phase : report.phases) names.push_back(phase.name);
  return names;
}

TEST(MemoryReport, HasThePhasesOfARunOneAfterTheOther) {
  const EngineOptions options = options_of("llava-1.5");
  Engine engine(options);
  EXPECT_EQ(names_of(engine.memory_report()), std::vector<std::string>{"load"});
  engine.generate(request_of(options));
  engine.generate(request_of(options));
  const MemoryReport report = engine.memory_report();
  EXPECT_EQ(names_of(report),
            (std::vector<std::string>{"load", "encode", "prefill", "decode", "encode", "prefill", "decode"}));
  double end = 0;
  for (const PhaseUse& phase : report.phases) {
    EXPECT_EQ(phase.begin_seconds, end);
    EXPECT_LE(phase.begin_seconds, phase.end_seconds);
    end = phase.end_seconds;
    for (const RegionUse& region : phase.regions) {
      EXPECT_LE(region.high_water, region.planned) << phase.name << " " << region.name;
      EXPECT_LE(region.used, region.high_water) << phase.name << " " << region.name;
    }
  }
  EXPECT_GT(report.pages_in_use, 0);
  EXPECT_LE(report.pages_in_use, report.pages);
}

TEST(MemoryReport, OfTheLargestPhaseIsTheReportOfTheRegions) {
  for (const TowerPlacement placement : {TowerPlacement::resident, TowerPlacement::staged}) {
    EngineOptions options = options_of("internvl2-llama");
    options.tower_placement = placement;
    Engine engine(options);
    engine.generate(request_of(options));
    const MemoryReport report = engine.memory_report();
    for (std::size_t i = 0; i < report.regions.size(); ++i) {
      std::uint64_t planned = 0, most = 0;
      for (const PhaseUse& phase : report.phases) {
        planned = std::max(planned, phase.regions[i].planned);
        most = std::max(most, phase.regions[i].high_water);
      }
      EXPECT_EQ(planned, report.regions[i].planned) << report.regions[i].name;
      EXPECT_EQ(most, report.regions[i].high_water) << report.regions[i].name;
    }
  }
}

TEST(MemoryReport, IsATableJsonAndAPageThatNeedsNothingElse) {
  EngineOptions options = options_of("llava-1.5");
  Engine engine(options);
  engine.generate(request_of(options));
  MemoryReport report = engine.memory_report();
  report.model = "a & <b>";
  EXPECT_NE(to_text(report).find("activations"), std::string::npos);
  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json.at("planned_peak_bytes"), engine.plan().peak_bytes);
  EXPECT_EQ(json.at("phases").at(1).at("name"), "encode");
  EXPECT_EQ(json.at("phases").at(1).at("regions").at("tower").at("planned"),
            report.phases[1].regions[1].planned);
  const std::string page = to_html(report);
  EXPECT_NE(page.find("a &amp; &lt;b&gt;"), std::string::npos);
  for (const char* word : {"http", "<script", "url(", "nan", "inf"}) {
    EXPECT_EQ(page.find(word), std::string::npos) << word;
  }
}

TEST(Profile, CountsEveryOperationOfTheRequestsSinceItsStart) {
  const EngineOptions options = options_of("llava-1.5");
  Engine engine(options);
  engine.generate(request_of(options));
  EXPECT_TRUE(engine.profile().ops.empty());
  engine.start_profile();
  engine.generate(request_of(options));
  Profile profile = engine.profile();
  const auto calls_of = [&](const std::string& phase, const std::string& op) {
    const auto is_it = [&](const OpUse& use) { return use.phase == phase && use.op == op; };
    const auto found = std::find_if(profile.ops.begin(), profile.ops.end(), is_it);
    return found == profile.ops.end() ? 0 : found->calls;
  };
  EXPECT_GT(calls_of("encode", "attend_tile"), 0U);
  // Each of three steps of decoding has as many layers as the prompt's chunk.
  EXPECT_EQ(calls_of("decode", "attend_pages"), 3 * calls_of("prefill", "attend_pages"));
  for (const PhaseTime& phase : profile.phases) {
    double sum = 0;
    for (const OpUse& op : profile.ops) sum += op.phase == phase.name ? op.seconds : 0;
    EXPECT_LE(sum, phase.seconds * 1.01 + 1e-4) << phase.name;
  }
  hold_against({1e9, 1e9, 2e9}, profile);
  for (const OpUse& op : profile.ops) {
    const double bytes = static_cast<double>(op.bytes_read + op.bytes_written);
    EXPECT_DOUBLE_EQ(op.roofline_seconds, std::max(op.flops, bytes) / 1e9) << op.op;
  }
  EXPECT_NE(to_text(profile).find("attend_pages"), std::string::npos);
  const auto json = nlohmann::json::parse(to_json(profile));
  EXPECT_EQ(json.at("ops").size(), profile.ops.size());
  engine.start_profile();
  EXPECT_TRUE(engine.profile().ops.empty()) << "started anew";
}

TEST(Profile, HoldsRoundedProductsAgainstTheirOwnCeiling) {
  Profile profile{{}, {{"decode", "linear_int8", 1, 1, 4e9, 0, 0, 0}}, {}};
  hold_against({1e9, 1e9, 2e9}, profile);
  EXPECT_DOUBLE_EQ(profile.ops.front().roofline_seconds, 2);
  hold_against({1e9, 1e9, 0}, profile);  // a card with one ceiling
  EXPECT_DOUBLE_EQ(profile.ops.front().roofline_seconds, 4);
}

TEST(Profile, OfFourBitWeightsSaysWhichProductsWereRounded) {
  for (const Compute compute : {Compute::automatic, Compute::fp32}) {
    EngineOptions options = options_of("llava-1.5");
    options.precision = Precision::int4;
    options.compute = compute;
    Engine engine(options);
    engine.start_profile();
    engine.generate(request_of(options));
    const auto ops = engine.profile().ops;
    const bool rounded =
        std::any_of(ops.begin(), ops.end(), [](const OpUse& op) { return op.op == "linear_int8"; });
    EXPECT_EQ(rounded, compute == Compute::automatic);
  }
}

}  // namespace
}  // namespace galago::testing
