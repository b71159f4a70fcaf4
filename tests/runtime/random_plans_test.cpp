// Whatever the configuration: every region's high-water mark is the planned size, to the byte.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "runtime/executor.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/attention_window.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/planner.h"
#include "support/planned_request.h"

namespace galago::runtime {
namespace {

const std::vector<const char*> folders = {
    "llava-1.5",       "llava-1.6-vicuna", "llava-1.6-mistral", "internvl2-internlm2", "internvl2-qwen2",
    "internvl2-llama", "internvl2-phi3",   "internvl3-hf",      "text-llama",          "text-llama3",
    "text-phi3",       "text-internlm2",   "text-llama-awq",    "text-mistral-window"};

class Choice {
 public:
  explicit Choice(unsigned seed) : random_(seed) {}
  std::int64_t number(std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(random_() % static_cast<unsigned long>(most - least + 1));
  }
  bool yes() { return number(0, 1) == 1; }

 private:
  std::mt19937 random_;
};

EngineOptions random_options(Choice& choose, const model::Description& description) {
  EngineOptions options;
  options.precision = static_cast<Precision>(choose.number(0, 5));
  options.tower_precision = static_cast<Precision>(choose.number(0, 5));
  options.embeddings_precision = static_cast<Precision>(choose.number(0, 5));
  options.output_precision = description.decoder.tied_embeddings
                                 ? Precision::automatic
                                 : static_cast<Precision>(choose.number(0, 5));
  options.kv = static_cast<KvPrecision>(choose.number(0, 4));
  options.context = choose.number(1, 80);
  options.batch = choose.yes() ? choose.number(2, 6) : 1;
  options.kv_tokens = choose.yes() ? options.context + choose.number(0, 100) : 0;
  options.window = choose.yes() ? choose.number(1, 60) : 0;
  if (options.window > 0 && choose.yes()) options.sinks = choose.number(0, 40);
  options.encode_batch = choose.yes() ? choose.number(4, 7) : 0;
  options.prefill_chunk = choose.number(1, 100);
  options.mlp_rows = choose.yes() ? choose.number(1, 100) : 0;
  options.tile_batch = choose.number(0, 5);
  options.tower_placement = choose.yes() ? TowerPlacement::staged : TowerPlacement::resident;
  options.streamed_layers = choose.yes() ? choose.number(0, description.decoder.n_layers) : 0;
  options.max_tiles = choose.number(0, 6);
  options.logits = choose.yes() ? LogitRows::last : LogitRows::all;
  return options;
}

std::string describe(const EngineOptions& options) {
  return "precisions " + std::to_string(static_cast<int>(options.precision)) + " " +
         std::to_string(static_cast<int>(options.tower_precision)) + " " +
         std::to_string(static_cast<int>(options.embeddings_precision)) + " " +
         std::to_string(static_cast<int>(options.output_precision)) + ", batch " +
         std::to_string(options.batch) + " in " + std::to_string(options.kv_tokens) + " tokens, " +
         std::to_string(options.encode_batch) + " encoded, window " + std::to_string(options.window) + " + " +
         std::to_string(options.sinks.value_or(-1)) + ", kv " + std::to_string(static_cast<int>(options.kv)) +
         ", context " + std::to_string(options.context) + ", chunk " + std::to_string(options.prefill_chunk) +
         ", rows in an MLP " + std::to_string(options.mlp_rows) + ", tiles " +
         std::to_string(options.tile_batch) + " of " + std::to_string(options.max_tiles) +
         (options.tower_placement == TowerPlacement::staged ? ", staged" : "") + ", streamed " +
         std::to_string(options.streamed_layers);
}

/// `n` random configurations of the goldens, each on one of the backends.
void expect_plans_are_used(int n, std::span<backend::Backend* const> backends) {
  std::vector<Blueprint> models;
  for (const char* folder : folders) {
    models.push_back(
        draw_blueprint(checkpoint::open_checkpoint(std::filesystem::path(GALAGO_GOLDENS_DIR) / folder)));
  }
  Choice choose(20261121);
  for (int i = 0; i < n && !::testing::Test::HasFailure(); ++i) {
    Blueprint& model = models[static_cast<std::size_t>(choose.number(0, std::ssize(models) - 1))];
    const EngineOptions options = random_options(choose, model.description);
    SCOPED_TRACE(model.checkpoint.directory.string() + ": " + describe(options));
    backend::Backend& backend =
        *backends[static_cast<std::size_t>(choose.number(0, std::ssize(backends) - 1))];
    const std::optional<vision::ImageProcessing> unlimited = model.image;
    const model::DecoderShape all_seeing = model.description.decoder;
    limit_tiles(options, model);
    limit_windows(options, model.description.decoder);
    const Configuration configuration =
        configure(options, model.description, {0, largest_picture(model, std::nullopt)});
    const Rehearsal plan = rehearse(model, configuration, backend);
    Executor executor(model.checkpoint, model.description, configuration, backend, reserve(plan, backend));
    test::run_planned_request(executor);
    if (configuration.tower_staged) test::run_planned_request(executor);
    const memory::Occupancy used = executor.arena().occupancy();
    EXPECT_EQ(used.by_phase, plan.stages.front().memory.by_phase);
    EXPECT_EQ(used.total(), plan.stages.front().memory.total());
    model.image = unlimited;
    model.description.decoder = all_seeing;
  }
}

TEST(RandomConfigurations, UseEveryRegionAsPlanned) {
  const auto exact = backend::make_cpu_backend(2);
  const auto rounding = backend::make_cpu_backend(2, backend::Products::rounded);
  expect_plans_are_used(300, std::array{exact.get(), rounding.get()});
}

#if defined(GALAGO_WITH_EMULATED_CUDA)
TEST(RandomConfigurations, UseEveryRegionAsPlannedOnADevice) {
  const auto exact = backend::emulated::make_backend(0, backend::CudaProducts::fp32);
  const auto rounding = backend::emulated::make_backend(0, backend::CudaProducts::tensor_cores);
  expect_plans_are_used(24, std::array{exact.get(), rounding.get()});
}
#endif

}  // namespace
}  // namespace galago::runtime
