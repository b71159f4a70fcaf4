// Plan mode and run mode are the same code: what was planned is what is used, to the byte and to the flop.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "backend/cpu/cpu_backend.h"
#include "galago/galago.h"
#include "runtime/executor.h"
#include "runtime/load/model_files.h"
#include "runtime/load/shape_model.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/planner.h"
#include "runtime/prompt.h"

namespace galago::testing {
namespace {

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

struct Case {
  const char* folder;
  Precision precision;
  std::int64_t context;
  std::int64_t chunk;
};

void expect_plan_equals_run(const runtime::ModelFiles& files, const runtime::Configuration& configuration) {
  const auto backend = backend::make_cpu_backend(2);
  const runtime::Rehearsal plan = runtime::rehearse(files, configuration, *backend);
  runtime::Executor executor(files.checkpoint, files.description, configuration, *backend,
                             runtime::reserve(plan, *backend));
  // The planned request for real: pages in order, ids of the first token, a black picture.
  std::vector<backend::PageId> pages(static_cast<std::size_t>(configuration.n_pages()));
  for (std::size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<backend::PageId>(i);
  if (configuration.with_pictures) executor.encode(configuration.picture.n_tiles, {});
  const std::int64_t context = configuration.context;
  const std::int64_t chunk = configuration.prefill_chunk;
  for (std::int64_t done = 0; done < context; done += chunk) {
    const std::int64_t n = std::min(chunk, context - done);
    const std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
    executor.step(backend::Phase::prefill, ids, {0, n, done, pages}, done + n == context ? 1 : 0);
  }
  const backend::TokenChoice choice;
  const std::int32_t id = executor.choose({&choice, 1}).front();
  executor.step(backend::Phase::decode, {&id, 1}, {0, 1, context - 1, pages}, 1);
  executor.choose({&choice, 1});

  EXPECT_EQ(executor.arena().high_water(), plan.regions());
  for (const auto phase : {backend::Phase::encode, backend::Phase::prefill, backend::Phase::decode}) {
    EXPECT_EQ(executor.ledger().total(phase).flops, plan.stages.front().ledger.total(phase).flops)
        << name_of(phase);
    EXPECT_EQ(executor.ledger().total(phase).bytes_read, plan.stages.front().ledger.total(phase).bytes_read)
        << name_of(phase);
  }
}

class PlanEqualsRun : public ::testing::TestWithParam<Case> {};

TEST_P(PlanEqualsRun, EveryRegionToTheByteAndEveryCost) {
  const auto [folder, precision, context, chunk] = GetParam();
  EngineOptions options;
  options.precision = precision;
  options.context = context;
  options.prefill_chunk = chunk;
  const runtime::ModelFiles files = runtime::open_model(goldens / folder);
  expect_plan_equals_run(files, runtime::configure(options, files.description,
                                                   {0, runtime::largest_picture(files, std::nullopt)}));
}

INSTANTIATE_TEST_SUITE_P(Configurations, PlanEqualsRun,
                         ::testing::Values(Case{"llava-1.5", Precision::automatic, 64, 64},
                                           Case{"llava-1.5", Precision::fp32, 100, 33},
                                           Case{"llava-1.5-original", Precision::bf16, 65, 16},
                                           Case{"text-llama", Precision::fp16, 1, 1},
                                           Case{"text-llama", Precision::fp32, 300, 128}));

/// LLaVA-1.5 with InternVL's tiles: any model can have them.
runtime::ModelFiles tiled_model(std::int64_t max_tiles) {
  runtime::ModelFiles files = runtime::open_model(goldens / "llava-1.5");
  files.image->tiling = vision::Tiling::dynamic;
  files.image->max_grid_tiles = 12;
  files.image->thumbnail = true;
  vision::limit_tiles(*files.image, max_tiles);
  return files;
}

runtime::Configuration configure_tiles(const runtime::ModelFiles& files) {
  EngineOptions options;
  options.context = 64;
  return runtime::configure(options, files.description, {0, runtime::largest_picture(files, std::nullopt)});
}

TEST(Tiles, ThirteenAreUsedAsPlanned) {
  const runtime::ModelFiles files = tiled_model(13);
  const runtime::Configuration configuration = configure_tiles(files);
  EXPECT_EQ(configuration.picture.n_tiles, 13);
  expect_plan_equals_run(files, configuration);
}

TEST(Tiles, MoreTilesThanABatchCostTheirEmbeddingsOnly) {
  const auto backend = backend::make_cpu_backend(1);
  const auto plan_of = [&](std::int64_t max_tiles) {
    const runtime::ModelFiles files = tiled_model(max_tiles);
    runtime::Configuration configuration = configure_tiles(files);
    configuration.tile_batch = 2;
    return runtime::rehearse(files, configuration, *backend).regions();
  };
  const auto many = plan_of(13);
  const auto few = plan_of(5);
  const auto pictures = static_cast<std::size_t>(memory::RegionId::pictures);
  const model::Description description = tiled_model(5).description;
  const auto embeddings =
      static_cast<Bytes>(8 * description.tokens_per_tile() * description.decoder.hidden_size) * sizeof(float);
  auto expected = few;
  expected[pictures] += embeddings;
  EXPECT_EQ(many, expected);
}

TEST(Tiles, OneAtATimeTakeNoMoreActivationsThanAPictureOfOneTile) {
  const auto backend = backend::make_cpu_backend(1);
  const auto activations_of = [&](const runtime::Blueprint& model, const PictureSize& size) {
    EngineOptions options;
    options.tile_batch = 1;
    options.workload = Workload{"", 1, 16};
    options.workload->image_sizes = {size};
    const runtime::Demand demand{0, runtime::largest_picture(model, options.workload)};
    const runtime::Configuration configuration = runtime::configure(options, model.description, demand);
    const auto encode = static_cast<std::size_t>(memory::Phase::encode);
    const memory::Occupancy memory = runtime::rehearse(model, configuration, *backend).stages.front().memory;
    return std::pair(configuration.picture.n_tiles,
                     memory.by_phase[encode][static_cast<std::size_t>(memory::RegionId::activations)]);
  };
  const auto wide = activations_of(runtime::model_of_shape("llava-1.6-vicuna-7b"), {1344, 672});
  const auto alone = activations_of(runtime::model_of_shape("llava-1.5-7b"), {336, 336});
  EXPECT_EQ(wide.first, 3);
  EXPECT_EQ(alone.first, 1);
  EXPECT_EQ(wide.second, alone.second);
  const runtime::Blueprint internvl = runtime::model_of_shape("internvl2-8b");
  const auto twelve = activations_of(internvl, {1792, 1344});
  const auto one = activations_of(internvl, {448, 448});
  EXPECT_EQ(one.first, 1);
  EXPECT_EQ(twelve.first, 13) << "and the whole picture";
  EXPECT_EQ(twelve.second, one.second);
}

TEST(Tiles, AStatedPictureSizeMakesThePlanSmaller) {
  const runtime::ModelFiles files = tiled_model(13);
  Workload workload{"Describe the picture.", 1, 4};
  const std::int64_t unknown = runtime::prompt_length(files, workload);
  workload.image_sizes = {{10, 10}};
  EXPECT_EQ(runtime::largest_picture(files, workload).n_tiles, 1);
  EXPECT_EQ(unknown - runtime::prompt_length(files, workload), 12 * files.description.tokens_per_tile());
}

TEST(Plan, AStatedWorkloadIsUsedToTheByte) {
  EngineOptions options;
  options.model = goldens / "llava-1.5";
  options.workload = Workload{"Describe the picture.", 1, 12};
  Engine engine(options);
  Request request;
  request.messages = {{Role::user, options.workload->prompt, {load_image(goldens / "images/wide.jpg")}}};
  request.sampling.max_new_tokens = 12;
  request.sampling.ignore_end = true;
  engine.generate(request);
  for (const RegionUse& use : engine.memory()) EXPECT_EQ(use.high_water, use.planned) << use.name;
}

TEST(Plan, ThePeakIsThatOfTheLargestPhaseInTableAndJson) {
  EngineOptions options;
  options.model = goldens / "llava-1.5";
  const Plan plan = plan_model(options);
  std::uint64_t most = 0;
  for (const PhasePlan& phase : plan.phases) {
    std::uint64_t sum = 0;
    for (const std::uint64_t bytes : phase.region_bytes) sum += bytes;
    EXPECT_EQ(phase.peak_bytes, sum) << phase.name;
    most = std::max(most, sum);
  }
  EXPECT_EQ(plan.peak_bytes, most);
  const auto json = nlohmann::json::parse(to_json(plan));
  EXPECT_EQ(json.at("peak_bytes").get<std::uint64_t>(), most);
  const auto& encode = json.at("phases").at(plan.phases.size() - 3);
  EXPECT_EQ(encode.at("name"), "encode");
  EXPECT_EQ(encode.at("regions").at("tower"), json.at("regions").at(1).at("bytes"));
  EXPECT_NE(to_text(plan).find(std::to_string(most)), std::string::npos);
  EXPECT_EQ(plan.image_tokens, 16);
}

EngineOptions staged_options() {
  EngineOptions options;
  options.model = goldens / "llava-1.5";
  options.tower_placement = TowerPlacement::staged;
  return options;
}

TEST(StagedTower, IsUsedAsPlannedAndPeaksAtTheLargestPhase) {
  const EngineOptions options = staged_options();
  const runtime::ModelFiles files = runtime::open_model(options.model);
  runtime::Configuration configuration =
      runtime::configure(options, files.description, {0, runtime::largest_picture(files, std::nullopt)});
  expect_plan_equals_run(files, configuration);

  const auto backend = backend::make_cpu_backend(1);
  const memory::Occupancy staged = runtime::rehearse(files, configuration, *backend).stages.front().memory;
  configuration.tower_staged = false;
  configuration.kept_pictures = 1;
  const memory::Occupancy resident = runtime::rehearse(files, configuration, *backend).stages.front().memory;
  EXPECT_LT(staged.total(), resident.total());
  Bytes most = 0;
  for (std::size_t i = 0; i < memory::n_phases; ++i) {
    most = std::max(most, staged.phase_bytes(static_cast<memory::Phase>(i)));
  }
  EXPECT_EQ(staged.total(), most);
}

TEST(StreamedLayers, AreUsedAsPlannedAndTakeTwoSlots) {
  EngineOptions options;
  options.context = 40;
  options.prefill_chunk = 16;
  const runtime::ModelFiles files = runtime::open_model(goldens / "text-llama3");
  const auto backend = backend::make_cpu_backend(2);
  const std::int64_t n_layers = files.description.decoder.n_layers;
  for (std::int64_t n = 0; n <= n_layers; ++n) {
    SCOPED_TRACE(n);
    options.streamed_layers = n;
    expect_plan_equals_run(files, runtime::configure(options, files.description, {}));
  }
}

TEST(StreamedLayers, AnswerAsResidentOnesDo) {
  EngineOptions options;
  options.model = goldens / "text-llama3";
  options.context = 48;
  Request request;
  request.form = PromptForm::raw;
  request.messages = {{Role::user, "The quick brown fox", {}}};
  request.sampling.max_new_tokens = 12;
  request.sampling.ignore_end = true;
  for (const Precision precision : {Precision::automatic, Precision::int8}) {
    options.precision = precision;
    options.streamed_layers = 0;
    Engine resident(options);
    const std::vector<std::int32_t> expected = resident.generate(request).token_ids;
    for (const std::int64_t n : {1, 2, 3}) {
      options.streamed_layers = n;
      Engine streamed(options);
      EXPECT_EQ(streamed.generate(request).token_ids, expected) << n;
      EXPECT_EQ(streamed.generate(request).token_ids, expected) << n;
    }
  }
}

TEST(StagedTower, AnswersAsAResidentOneDoes) {
  EngineOptions options = staged_options();
  options.workload = Workload{"Describe the pictures.", 2, 8};
  Request request;
  request.messages = {{Role::user,
                       options.workload->prompt,
                       {load_image(goldens / "images/wide.jpg"), load_image(goldens / "images/gray.png")}}};
  request.sampling.max_new_tokens = 8;
  request.sampling.ignore_end = true;
  Engine staged(options);
  options.tower_placement = TowerPlacement::resident;
  Engine resident(options);
  const std::vector<std::int32_t> expected = resident.generate(request).token_ids;
  EXPECT_EQ(staged.generate(request).token_ids, expected);
  EXPECT_EQ(staged.generate(request).token_ids, expected) << "once the tower was gone";
  for (const RegionUse& use : staged.memory()) EXPECT_LE(use.high_water, use.planned) << use.name;

  // What is cached goes on being used until a picture is to be seen.
  request.reuse = PrefixReuse::cached;
  const Completion again = staged.generate(request);
  EXPECT_EQ(again.token_ids, expected);
  EXPECT_GT(again.cached_tokens, 0);
  request.messages.front().images.push_back(request.messages.front().images.front());
  EXPECT_THROW(staged.generate(request), Error);
}

TEST(Plan, WeightsAreTheCheckpointsOwnBytes) {
  // llava-1.5 is stored in FP16. What is kept in FP32 instead, and what the feature layer leaves out, is
  // known.
  EngineOptions options;
  options.model = goldens / "text-llama";
  const Plan plan = plan_model(options);
  std::uint64_t stored = 0;
  for (const InspectedTensor& tensor : inspect_model(options.model).used)
    stored += (tensor.bytes + 63) / 64 * 64;
  const std::uint64_t inverse_frequencies = 64;  // 16 floats
  EXPECT_EQ(plan.regions.at(0).bytes, stored + inverse_frequencies);
}

TEST(Plan, AboveTheLimitIsRefusedWithTheMissingBytes) {
  EngineOptions options;
  options.model = goldens / "llava-1.5";
  options.memory_limit = 1 << 20;
  try {
    plan_model(options);
    FAIL() << "a plan above the limit was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::memory);
    EXPECT_NE(std::string(error.what()).find("bytes too few"), std::string::npos);
  }
}

TEST(Plan, DevicesOverlapInPrefillButNotInDecode) {
  EXPECT_EQ(runtime::pipeline_seconds(std::vector{3.0}, 4), 3.0);
  EXPECT_EQ(runtime::pipeline_seconds(std::vector{3.0, 5.0}, 1), 8.0);
  // Four steps: a quarter of the first device's time passes before the second one begins.
  EXPECT_EQ(runtime::pipeline_seconds(std::vector{4.0, 8.0}, 4), 9.0);
  EXPECT_EQ(runtime::pipeline_seconds(std::vector{8.0, 4.0, 2.0}, 2), 11.0);

  const auto first = backend::make_cpu_backend(1);
  std::vector<std::unique_ptr<backend::Backend>> two;
  two.push_back(backend::make_cpu_backend(1));
  two.push_back(backend::make_cpu_backend(1));
  const runtime::ModelFiles files =
      runtime::open_model(std::filesystem::path(GALAGO_GOLDENS_DIR) / "text-llama");
  const auto seconds_of = [&](std::vector<std::int64_t> layers, const backend::Backends& backends) {
    EngineOptions options;
    options.context = 64;
    options.prefill_chunk = 16;
    runtime::Configuration configuration = runtime::configure(options, files.description, {});
    configuration.stage_layers = std::move(layers);
    const runtime::Rehearsal rehearsal = runtime::rehearse(files, configuration, backends);
    Plan plan = runtime::describe_plan(files, configuration, backends, rehearsal);
    runtime::time_phases(plan, rehearsal, std::vector(backends.size(), MachineCeilings{1e9, 1e9}));
    std::vector<double> seconds;
    for (const PhasePlan& phase : plan.phases) seconds.push_back(phase.seconds);
    return seconds;
  };
  const std::vector<double> alone = seconds_of({2}, *first);
  const std::vector<double> together = seconds_of({1, 1}, two);
  ASSERT_EQ(alone.size(), 3U);  // load, prefill, decode
  EXPECT_LT(together[1], 0.85 * alone[1]);
  EXPECT_GT(together[1], 0.5 * alone[1]);
  EXPECT_GE(together[2], alone[2]);
}

TEST(Plan, OptionsThatCannotBeAreUsageErrors) {
  const auto refused = [](auto&& change) {
    EngineOptions options;
    options.model = goldens / "text-llama";
    change(options);
    try {
      plan_model(options);
    } catch (const Error& error) {
      return error.code() == ErrorCode::usage;
    }
    return false;
  };
  EXPECT_TRUE(refused([](EngineOptions& o) { o.context = 5000; }));
  EXPECT_TRUE(refused([](EngineOptions& o) { o.context = -1; }));
  EXPECT_TRUE(refused([](EngineOptions& o) { o.prefill_chunk = 0; }));
  EXPECT_TRUE(refused([](EngineOptions& o) { o.threads = -2; }));
  EXPECT_TRUE(refused([](EngineOptions& o) { o.device = "tpu"; }));
}

}  // namespace
}  // namespace galago::testing
