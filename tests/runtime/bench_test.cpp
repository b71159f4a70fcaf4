// Benchmarks: every stage is there with numbers that can be, memory is as planned, and reports survive being
// written.
#include "galago/bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "galago/error.h"
#include "runtime/bench/samples.h"

namespace galago::testing {
namespace {

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

BenchOptions small_options() {
  BenchOptions options;
  options.engine.model = goldens / "llava-1.5";
  options.engine.threads = 2;
  options.picture = PictureSize{90, 60};
  options.prompt_tokens = 7;
  options.new_tokens = 3;
  options.repeats = 2;
  options.max_spread = 1e9;
  return options;
}

/// One measurement for all tests that only look at it.
const BenchResult& measured() {
  static const BenchResult result = run_bench(small_options());
  return result;
}

std::vector<std::string> names(const BenchResult& result) {
  std::vector<std::string> all;
  for (const BenchStage& stage : result.stages) all.push_back(stage.name);
  return all;
}

/// A report as if it had been measured: one stage of one configuration.
BenchReport made_up(double seconds, double spread, std::uint64_t peak) {
  BenchResult result;
  result.model = "m, \"quoted\" <model>";
  result.precision = "fp16";
  result.tower_precision = "none";
  result.kv_precision = "fp16";
  result.machine.threads = 2;
  result.prompt_tokens = 5;
  result.stages = {{"decode", "token", 10, seconds, spread, seconds / 2, false, 2 * seconds}};
  result.regions = {{"weights", 100, peak, 0}};
  result.measured_peak_bytes = peak;
  return {"1.2", "2026-01-01T00:00:00Z", 0.1, {result}};
}

ErrorCode code_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(Bench, MeasuresEveryStageOfACaption) {
  const BenchResult& result = measured();
  EXPECT_EQ(names(result), (std::vector<std::string>{"load", "decode picture", "resize", "encode", "project",
                                                     "prefill", "decode", "caption"}));
  double parts = 0;
  for (const BenchStage& stage : result.stages) {
    EXPECT_GT(stage.seconds, 0) << stage.name;
    EXPECT_GT(stage.rate(), 0) << stage.name;
    EXPECT_GE(stage.spread, 0) << stage.name;
    EXPECT_GT(stage.cpu_seconds, 0) << stage.name;
    if (stage.name != "load" && stage.name != "caption") parts += stage.roofline_seconds;
  }
  EXPECT_NEAR(result.stages.back().roofline_seconds, parts, parts * 1e-6);
  EXPECT_EQ(result.image_tokens, 16);
  EXPECT_EQ(result.prompt_tokens, 23);
  EXPECT_GT(result.machine.copy_bytes_per_second, 1e6);
  EXPECT_GT(result.machine.read_bytes_per_second, 1e6);
  EXPECT_GT(result.machine.flops_per_second, 1e6);
  EXPECT_GT(result.machine.int8_flops_per_second, 1e6);
}

TEST(Bench, UsesTheMemoryThatWasPlanned) {
  const BenchResult& result = measured();
  ASSERT_EQ(result.regions.size(), 6U);
  for (const RegionUse& region : result.regions) {
    EXPECT_GT(region.planned, 0U) << region.name;
    EXPECT_EQ(region.planned, region.high_water) << region.name;
  }
  EXPECT_GT(result.planned_peak_bytes, 0U);
  EXPECT_GT(result.measured_peak_bytes, 0U);
}

TEST(Bench, ATextModelHasNoPictureAndALongerPrompt) {
  BenchOptions options = small_options();
  options.engine.model = goldens / "text-llama";
  options.prompt_tokens = 0;
  const BenchResult result = run_bench(options);
  EXPECT_EQ(names(result), (std::vector<std::string>{"load", "prefill", "decode", "answer"}));
  EXPECT_FALSE(result.picture.has_value());
  EXPECT_EQ(result.prompt_tokens, 512);
}

TEST(Bench, AStageThatVariesMoreThanTheLimitIsDisturbedAndShowsNoNumber) {
  BenchOptions options = small_options();
  options.repeats = 3;
  options.max_spread = 0;
  const BenchReport report{"1", "now", 0, {run_bench(options)}};
  EXPECT_TRUE(report.disturbed());
  EXPECT_NE(to_text(report).find("disturbed"), std::string::npos);
  EXPECT_TRUE(nlohmann::json::parse(to_json(report)).at("disturbed").get<bool>());
}

TEST(Bench, ReportsSurviveBeingWrittenAndRead) {
  const BenchReport report{"1.2", "2026-01-01T00:00:00Z", 0.5, {measured()}};
  const std::string json = to_json(report);
  EXPECT_EQ(to_json(parse_bench_report(json, "a.json")), json);
}

TEST(Bench, CsvHasALineAStageAndQuotesNames) {
  const std::string csv = to_csv(made_up(1, 0.01, 100));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 2);
  EXPECT_NE(csv.find("\n\"m, \"\"quoted\"\" <model>\",fp16,none,fp16,,2,0,0,5,0,decode,token,10,1,"),
            std::string::npos)
      << csv;
}

TEST(Bench, HtmlEscapesNamesAndFetchesNothing) {
  const std::string html = to_html(made_up(1, 0.01, 100));
  EXPECT_NE(html.find("&quot;quoted&quot; &lt;model&gt;"), std::string::npos);
  EXPECT_NE(html.find("<svg"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos);
  EXPECT_EQ(html.find("<script"), std::string::npos);
}

TEST(Bench, ComparisonTellsChangesBeyondTheNoiseOnly) {
  const BenchReport before = made_up(1.0, 0.01, 100);
  EXPECT_NE(compare_reports(before, made_up(0.8, 0.01, 100)).find("FASTER"), std::string::npos);
  EXPECT_NE(compare_reports(before, made_up(1.3, 0.01, 100)).find("SLOWER"), std::string::npos);
  EXPECT_NE(compare_reports(before, made_up(1.3, 0.4, 100)).find("same"), std::string::npos);
  EXPECT_NE(compare_reports(before, made_up(1.0, 0, 160)).find("100 -> 160 bytes (+60)"), std::string::npos);
  BenchReport disturbed = made_up(2.0, 0.01, 100);
  disturbed.results[0].stages[0].disturbed = true;
  EXPECT_EQ(compare_reports(before, disturbed).find("SLOWER"), std::string::npos);
}

TEST(Bench, ComparisonTellsWhatOnlyOneReportHas) {
  BenchReport other = made_up(1, 0, 100);
  other.results[0].precision = "fp32";
  const std::string text = compare_reports(made_up(1, 0, 100), other);
  EXPECT_NE(text.find("only in the first report"), std::string::npos);
  EXPECT_NE(text.find("only in the second report"), std::string::npos);
}

TEST(Bench, WhatIsNoReportIsRefusedWithItsName) {
  for (const char* text : {"", "[]", "{}", "{\"galago\": 1}",
                           "{\"galago\": \"1\", \"date\": \"\", \"max_spread\": 0, "
                           "\"results\": [{}]}"}) {
    try {
      parse_bench_report(text, "a.json");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input) << text;
      EXPECT_NE(std::string(error.what()).find("a.json"), std::string::npos) << error.what();
    }
  }
}

TEST(Bench, OptionsThatCannotBeAreUsageErrors) {
  const auto refused = [](auto&& change) {
    BenchOptions options = small_options();
    change(options);
    return code_of([&] { run_bench(options); });
  };
  EXPECT_EQ(refused([](BenchOptions& o) { o.repeats = 0; }), ErrorCode::usage);
  EXPECT_EQ(refused([](BenchOptions& o) { o.warmup = -1; }), ErrorCode::usage);
  EXPECT_EQ(refused([](BenchOptions& o) { o.picture = PictureSize{0, 5}; }), ErrorCode::usage);
  EXPECT_EQ(refused([](BenchOptions& o) { o.engine.context = 20; }), ErrorCode::usage);
  EXPECT_EQ(refused([](BenchOptions& o) { o.engine.shape = "llama-8b"; }), ErrorCode::usage);
  EXPECT_EQ(refused([](BenchOptions& o) { o.engine.memory_limit = 1000; }), ErrorCode::memory);
}

TEST(Samples, MedianAndQuartilesLieBetweenTheRunsWhereTheyMust) {
  const runtime::Summary odd = runtime::summarize({3, 1, 2, 5, 4});
  EXPECT_DOUBLE_EQ(odd.median, 3);
  EXPECT_DOUBLE_EQ(odd.spread, 2.0 / 3);
  EXPECT_DOUBLE_EQ(runtime::summarize({1, 2}).median, 1.5);
  EXPECT_DOUBLE_EQ(runtime::summarize({7}).spread, 0);
}

}  // namespace
}  // namespace galago::testing
