// The budget is kept by giving up as little as possible, in the order that docs/memory.md tells.
#include "runtime/plan/fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "checkpoint/scratch.h"
#include "galago/galago.h"
#include "runtime/load/model_files.h"
#include "runtime/load/shape_model.h"
#include "runtime/plan/known_devices.h"
#include "runtime/plan/machine.h"
#include "runtime/plan/pictures.h"
#include "support/sanitizer.h"

namespace galago::runtime {
namespace {

EngineOptions shape_options() {
  EngineOptions options;
  options.shape = "llava-1.5-7b";
  return options;
}

std::vector<Configuration> candidates_of(const EngineOptions& options) {
  const Blueprint model = model_of_shape(options.shape);
  return fit_candidates(model, options, {0, largest_picture(model, options.workload)});
}

TEST(FitSearch, BeginsWithWhatIsStoredAndEndsWithTheFewestBits) {
  const auto candidates = candidates_of(shape_options());
  EXPECT_FALSE(candidates.front().decoder_format);
  EXPECT_FALSE(candidates.front().tower_staged);
  EXPECT_EQ(candidates.front().context, 4096);
  EXPECT_EQ(describe_format(candidates.back().decoder_format).substr(0, 4), "int4");
  EXPECT_TRUE(candidates.back().tower_staged);
  EXPECT_EQ(candidates.back().context, 512);
  EXPECT_EQ(candidates.back().prefill_chunk, 32);
  EXPECT_EQ(candidates.back().streamed_layers, 32);
}

TEST(FitSearch, GivesUpALittleTimeThenPrecisionThenContextThenALotOfTime) {
  const auto candidates = candidates_of(shape_options());
  const auto first = [&](auto&& is) {
    return std::find_if(candidates.begin(), candidates.end(), is) - candidates.begin();
  };
  const auto staged = first([](const Configuration& c) { return c.tower_staged; });
  const auto rounded = first([](const Configuration& c) { return c.decoder_format.has_value(); });
  const auto streamed = first([](const Configuration& c) { return c.streamed_layers > 0; });
  const auto shorter = first([](const Configuration& c) { return c.context < 4096; });
  EXPECT_LT(0, staged);
  EXPECT_LT(staged, rounded);
  EXPECT_LT(rounded, shorter);
  EXPECT_LT(shorter, streamed);
}

TEST(FitSearch, AStagedTowerSeesSeveralPicturesOfAFolderAndOneAtLast) {
  EngineOptions options = shape_options();
  options.workload = Workload{};
  const auto kept = [&] {
    std::vector<std::int64_t> numbers;
    for (const Configuration& candidate : candidates_of(options)) {
      if (candidate.streamed_layers > 0) break;
      if (candidate.tower_staged && (numbers.empty() || numbers.back() != candidate.kept_pictures)) {
        numbers.push_back(candidate.kept_pictures);
      }
      EXPECT_TRUE(candidate.tower_staged || candidate.kept_pictures == 1);
    }
    numbers.resize(std::min<std::size_t>(numbers.size(), 2));
    return numbers;
  };
  EXPECT_EQ(kept(), (std::vector<std::int64_t>{1}));
  options.workload->n_requests = 1000;
  EXPECT_EQ(kept(), (std::vector<std::int64_t>{16, 1}));
  options.workload->n_images = 3;
  options.workload->n_requests = 5;
  EXPECT_EQ(kept(), (std::vector<std::int64_t>{15, 3}));
  options.encode_batch = 7;
  EXPECT_EQ(kept(), (std::vector<std::int64_t>{7}));
  options.encode_batch = 2;
  EXPECT_THROW(kept(), Error) << "less than a request has";
}

TEST(FitSearch, LeavesAloneWhatTheUserFixed) {
  EngineOptions options = shape_options();
  options.precision = Precision::int8;
  options.tower_precision = Precision::fp16;
  options.context = 1000;
  options.tower_placement = TowerPlacement::resident;
  for (const Configuration& candidate : candidates_of(options)) {
    EXPECT_EQ(describe_format(candidate.decoder_format).substr(0, 4), "int8");
    EXPECT_EQ(describe_format(candidate.tower_format), "fp16");
    EXPECT_EQ(candidate.context, 1000);
    EXPECT_FALSE(candidate.tower_staged);
  }
}

TEST(FitSearch, KeysAndValuesComeInFewerBitsBeforeTheContextIsShorter) {
  const auto candidates = candidates_of(shape_options());
  std::vector<std::string> kv;
  for (const Configuration& candidate : candidates) {
    if (candidate.context < 4096 || candidate.streamed_layers > 0) break;
    const std::string name = short_name(candidate.kv_format);
    if (kv.empty() || kv.back() != name) kv.push_back(name);
  }
  EXPECT_EQ(kv.front(), "fp16");
  EXPECT_NE(std::find(kv.begin(), kv.end(), "int8"), kv.end());
  EXPECT_EQ(kv.back(), "int4");
  EngineOptions options = shape_options();
  options.kv = KvPrecision::int8;
  for (const Configuration& candidate : candidates_of(options)) {
    EXPECT_EQ(short_name(candidate.kv_format), "int8");
  }
}

TEST(FitSearch, EveryPrecisionTakesClearlyFewerBytesThanTheOneBefore) {
  EngineOptions options = shape_options();
  options.memory_limit = 1 << 20;
  const Blueprint model = model_of_shape(options.shape);
  const auto backend = backend::make_cpu_backend(1);
  const auto candidates = candidates_of(options);
  Bytes before = ~Bytes{0};
  int n_rungs = 0;
  for (const Configuration& candidate : candidates) {
    if (candidate.context < 4096 || candidate.streamed_layers > 0) break;
    if (candidate.prefill_chunk < 512 || candidate.mlp_rows > 0 || candidate.tower_staged) continue;
    const Bytes total = rehearse(model, candidate, *backend).stages.front().memory.total();
    EXPECT_LT(total, before) << describe_choice(candidate, model.description);
    before = total;
    ++n_rungs;
  }
  EXPECT_GT(n_rungs, 8);
  EXPECT_LT(n_rungs, 40);
}

TEST(Parts, OfAFixedPrecisionStayUnderABudget) {
  EngineOptions options = shape_options();
  options.embeddings_precision = Precision::fp16;
  options.output_precision = Precision::int4;
  for (const Configuration& candidate : candidates_of(options)) {
    EXPECT_EQ(short_name(candidate.embeddings_format), "fp16");
    EXPECT_EQ(short_name(candidate.output_format), "int4");
  }
}

TEST(Parts, HaveTheBytesOfTheirOwnPrecision) {
  EngineOptions options;
  options.shape = "llama-7b";
  options.precision = Precision::int4;
  const auto weights_of = [&] { return plan_model(options).regions.front().bytes; };
  constexpr std::uint64_t n = 32000 * 4096;  // of either
  const std::uint64_t both_int8 = weights_of();
  options.embeddings_precision = Precision::fp16;
  EXPECT_EQ(weights_of() - both_int8, n * 2 - n * 34 / 32);
  options.embeddings_precision = Precision::automatic;
  options.output_precision = Precision::int4;
  const Plan plan = plan_model(options);
  EXPECT_EQ(both_int8 - plan.regions.front().bytes, n * 34 / 32 - n * 20 / 32);
  EXPECT_EQ(plan.output_precision.substr(0, 4), "int4");
  EXPECT_EQ(plan.embeddings_precision.substr(0, 4), "int8");
  EXPECT_NE(plan.choice.find("embeddings int8, KV"), std::string::npos) << plan.choice;
}

TEST(Parts, ThatAreOneMatrixHaveOnePrecision) {
  EngineOptions options;
  options.shape = "smollm2-135m";
  options.precision = Precision::int4;
  options.output_precision = Precision::fp16;
  EXPECT_EQ(plan_model(options).embeddings_precision, "fp16");
  options.embeddings_precision = Precision::int8;
  test::expect_says(test::error_of(ErrorCode::usage, [&] { plan_model(options); }), "one matrix");
}

TEST(FitSearch, TakesTheFirstOfTheLadderThatFits) {
  EngineOptions options = shape_options();
  std::vector<std::string> ladder;
  std::string before;
  for (const std::uint64_t gib : {40, 15, 12, 8, 6, 5}) {
    SCOPED_TRACE(gib);
    options.memory_limit = gib << 30;
    const Plan plan = plan_model(options);
    EXPECT_LE(plan.peak_bytes, options.memory_limit);
    std::vector<std::string> choices;
    for (const PlanCandidate& candidate : plan.ladder) {
      choices.push_back(candidate.choice);
      EXPECT_EQ(candidate.fits, candidate.peak_bytes <= options.memory_limit);
    }
    const auto fits = [](const PlanCandidate& candidate) { return candidate.fits; };
    const auto first = std::find_if(plan.ladder.begin(), plan.ladder.end(), fits);
    ASSERT_NE(first, plan.ladder.end());
    EXPECT_EQ(first->peak_bytes, plan.peak_bytes);
    EXPECT_EQ(first->choice, plan.choice);
    if (ladder.empty()) ladder = choices;
    EXPECT_EQ(choices, ladder) << "the whole ladder, whatever the budget";
    EXPECT_NE(choice_line(plan), before) << "a smaller budget changed nothing";
    before = choice_line(plan);
  }
}

/// What the process may gain from one plan to the next.
constexpr std::uint64_t growth = test::keeps_freed_memory ? 256 << 20 : 8 << 20;

TEST(FitSearch, TheNextPictureHasRoomWhereNothingIsGivenUpForIt) {
  constexpr std::uint64_t picture = 2 * growth;
  EngineOptions options;
  options.model = GALAGO_GOLDENS_DIR "/llava-1.5";
  options.device = "cpu";
  options.picture_bytes = picture;
  const Plan alone = plan_model(options);
  EXPECT_FALSE(alone.decodes_ahead);
  options.next_picture_bytes = picture;
  const Plan free = plan_model(options);
  EXPECT_TRUE(free.decodes_ahead);
  EXPECT_NEAR(static_cast<double>(free.peak_bytes), static_cast<double>(alone.peak_bytes + picture), growth);
  for (const auto& [left, ahead] : {std::pair{picture + growth, true}, std::pair{picture - growth, false}}) {
    options.memory_limit = alone.peak_bytes + left;
    const Plan plan = plan_model(options);
    EXPECT_EQ(plan.decodes_ahead, ahead);
    EXPECT_EQ(plan.choice, alone.choice);
    EXPECT_LE(plan.peak_bytes, options.memory_limit);
    EXPECT_EQ(plan.budget_bytes, options.memory_limit);
    EXPECT_FALSE(plan.ladder.empty());
  }
}

TEST(FitSearch, ALadderInWordsShowsWhatSomeBudgetTakesAndCountsTheRest) {
  Plan plan;
  plan.ladder = {{"best", 300, false},
                 {"slower", 300, false},
                 {"next", 200, true},
                 {"worse", 250, true},
                 {"least", 100, true}};
  const std::string text = ladder_text(plan);
  const auto at = [&](const char* words) { return text.find(words); };
  EXPECT_LT(at("too big"), at("> chosen"));
  EXPECT_LT(at("> chosen"), at("next"));
  EXPECT_LT(at("next"), at("  fits"));
  EXPECT_LT(at("  fits"), at("least\n"));
  EXPECT_LT(at("least\n"), at("and 2 that need no less"));
  EXPECT_EQ(at("slower"), std::string::npos);
  EXPECT_EQ(at("worse"), std::string::npos);
  EXPECT_NE(at("and 2 that need no less"), std::string::npos);
}

TEST(FitSearch, SaysTheSmallestConfigurationAndTheMissingBytes) {
  EngineOptions options = shape_options();
  options.memory_limit = 1 << 20;
  try {
    plan_model(options);
    FAIL() << "seven billion weights in a mebibyte";
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_EQ(error.code(), ErrorCode::memory);
    EXPECT_NE(what.find("int4"), std::string::npos) << what;
    EXPECT_NE(what.find("bytes too few"), std::string::npos) << what;
    // What it names as enough is enough.
    const auto at = what.find("needs ");
    options.memory_limit = std::stoull(what.substr(at + 6)) + growth;
    EXPECT_NO_THROW(plan_model(options));
  }
}

TEST(KvLimit, MakesAFreeContextShorterAndIsKept) {
  EngineOptions options = shape_options();
  options.memory_limit = 16ULL << 30;
  const Plan all = plan_model(options);
  options.kv_limit = 0.25;
  const Plan part = plan_model(options);
  const auto kv_of = [](const Plan& plan) {
    const auto is_it = [](const RegionPlan& region) { return region.name == "kv"; };
    return std::find_if(plan.regions.begin(), plan.regions.end(), is_it)->bytes;
  };
  EXPECT_NE(all.choice, part.choice);
  EXPECT_LE(static_cast<double>(kv_of(part)),
            0.25 * static_cast<double>(options.memory_limit - part.peak_bytes + kv_of(part)));
  for (const double limit : {0.0, -1.0, 1.5}) {
    options.kv_limit = limit;
    EXPECT_FALSE(test::error_of(ErrorCode::usage, [&] { plan_model(options); }).empty());
  }
}

TEST(KvLimit, OfAFixedContextIsRefusedWithTheNumbers) {
  EngineOptions options;
  options.model = std::filesystem::path(GALAGO_GOLDENS_DIR) / "text-llama";
  options.context = 64;
  options.kv_limit = 1e-9;
  test::expect_says(test::error_of(ErrorCode::memory, [&] { plan_model(options); }), "--kv-limit");
}

TEST(KnownDevices, ArePlannedForWithoutHavingThem) {
  EngineOptions options = shape_options();
  options.workload = Workload{};
  for (const std::string& name : known_device_names()) {
    SCOPED_TRACE(name);
    options.device = name;
    const Plan plan = plan_model(options);
    EXPECT_LE(plan.peak_bytes, plan.budget_bytes);
    EXPECT_EQ(plan.device.substr(0, name.size()), name);
    EXPECT_GT(plan.ceilings.flops_per_second, 1e13);
  }
  options.device = "rtx4090";
  EXPECT_TRUE(plan_model(options).ladder.front().fits) << "7B in FP16 fits in 24 GiB";
  options.device = "no-such-card";
  EXPECT_FALSE(test::error_of(ErrorCode::usage, [&] { plan_model(options); }).empty());
}

TEST(KnownDevices, AMistakeInTheirFileIsOurs) {
  test::expect_says(test::error_of(ErrorCode::internal,
                                   [] {
                                     parse_devices({"devices.json", R"({"devices": [{}]})"});
                                   }),
                    "devices.json");
}

TEST(WhatIf, MoreTokensAndBitsTakeMoreAndFewerBitsAreFaster) {
  EngineOptions options;
  options.shape = "llava-1.5-7b";
  options.device = "rtx4090";
  const auto rows = plan_what_if(options);
  constexpr std::size_t n_batches = 3;
  ASSERT_EQ(rows.size(), 4U * 4 * 2 * n_batches);
  EXPECT_FALSE(rows.front().fits) << "28 GB in 24";
  const WhatIfRow& last = rows[rows.size() - n_batches];  // one at once
  EXPECT_TRUE(last.fits);
  EXPECT_FALSE(rows.back().fits) << "16 contexts of 4096 take 32 GiB";
  for (std::size_t i = 0; i + n_batches < rows.size(); i += 2 * n_batches) {
    EXPECT_LT(rows[i].peak_bytes, rows[i + n_batches].peak_bytes) << "a longer context";
    EXPECT_LT(rows[i].peak_bytes, rows[i + 1].peak_bytes) << "more at once";
    EXPECT_LT(rows[i].tokens_per_second, rows[i + 1].tokens_per_second) << "a weight is read for all of them";
    EXPECT_EQ(rows[i].first_token_seconds, rows[i + 1].first_token_seconds);
  }
  EXPECT_EQ(rows[0].image_tokens, 576);
  ASSERT_EQ(last.kv_tokens.size(), 3U);
  EXPECT_GT(last.kv_tokens[0], 0);
  EXPECT_NEAR(static_cast<double>(last.kv_tokens[2]), 4.0 * static_cast<double>(last.kv_tokens[0]), 80);
  EXPECT_EQ(rows[0].kv_tokens[2], 0) << "the weights alone take more than there is";
  EXPECT_GT(last.tokens_per_second, rows.front().tokens_per_second);
  const std::string text = to_text(rows);
  EXPECT_NE(text.find("1344x672"), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4 * 4 * 2 + 4) << "batches stand side by side";
  EXPECT_NE(to_json(rows).find("\"image_tokens\""), std::string::npos);
}

TEST(WhatIf, WhatTheOptionsFixIsTheSameInAllRows) {
  EngineOptions options;
  options.shape = "llava-1.6-vicuna-7b";
  options.device = "rtx4090";
  options.precision = Precision::int4;
  options.context = 3500;
  options.batch = 2;
  options.workload = Workload{};
  options.workload->image_sizes = {{640, 480}};
  const auto rows = plan_what_if(options);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].precision, Precision::int4);
  EXPECT_EQ(rows[0].picture.width, 640);
  EXPECT_EQ(rows[0].batch, 2);
  EXPECT_GE(rows[0].context, 3500);
  EXPECT_LT(rows[0].context, 3600) << "whole pages";
}

TEST(MemoryByHand, OfLlama7bIsWhatThePlannerSays) {
  // docs/memory.md works these out.
  EngineOptions options;
  options.shape = "llama-7b";
  options.context = 2048;
  const Plan plan = plan_model(options);
  const auto bytes_of = [&](const std::string& name) {
    const auto is_it = [&](const RegionPlan& region) { return region.name == name; };
    return std::find_if(plan.regions.begin(), plan.regions.end(), is_it)->bytes;
  };
  EXPECT_EQ(bytes_of("weights"), 13'477'363'968U);
  EXPECT_EQ(bytes_of("kv"), 2048U * 524'288);
  EXPECT_EQ(bytes_of("tower") + bytes_of("pictures"), 0U);
}

TEST(FitSearch, ABudgetAboveTheMachineIsRefused) {
  EngineOptions options;
  options.model = std::filesystem::path(GALAGO_GOLDENS_DIR) / "text-llama";
  options.memory_limit = total_memory() + 1;
  test::expect_says(test::error_of(ErrorCode::memory, [&] { plan_model(options); }), "this machine has");
}

TEST(FitSearch, AModelLoadedForABudgetAnswersWithinIt) {
  if (test::keeps_freed_memory) GTEST_SKIP() << "AddressSanitizer's heap grows by more than the model has";
  EngineOptions options;
  options.model = std::filesystem::path(GALAGO_GOLDENS_DIR) / "llava-1.5";
  options.workload = Workload{"Describe the picture.", 1, 4};
  const std::uint64_t ample = plan_model(options).peak_bytes;
  Request request;
  request.messages = {{Role::user,
                       options.workload->prompt,
                       {load_image(std::filesystem::path(GALAGO_GOLDENS_DIR) / "images/wide.jpg")}}};
  request.sampling.max_new_tokens = 4;
  options.memory_limit = ample - (64 << 10);
  Engine engine(options);
  EXPECT_LE(engine.plan().peak_bytes, options.memory_limit);
  EXPECT_GT(engine.plan().ladder.size(), 1U);
  EXPECT_FALSE(engine.generate(request).token_ids.empty());
  for (const RegionUse& use : engine.memory()) EXPECT_LE(use.high_water, use.planned) << use.name;
}

}  // namespace
}  // namespace galago::runtime
