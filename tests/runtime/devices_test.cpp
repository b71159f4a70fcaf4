// Models on several devices: the same numbers as on one, memory as planned on each, and sentences for what
// cannot be. Two emulated CUDA devices and the CPU stand for any.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "checkpoint/scratch.h"
#include "galago/galago.h"
#include "runtime/executor.h"
#include "runtime/plan/fit.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/planner.h"
#include "simt/fault.h"
#include "simt/memory.h"
#include "simt/runtime.h"
#include "support/planned_request.h"

namespace galago::runtime {
namespace {

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

constexpr const char* both_emulated = "cuda-emulated:0,cuda-emulated:1";

EngineOptions options_for(const char* folder, const std::string& device) {
  EngineOptions options;
  options.model = goldens / folder;
  options.device = device;
  options.context = 200;
  options.threads = 2;
  return options;
}

Request text_request(int n_words, std::int64_t n_new = 4) {
  Request request;
  request.form = PromptForm::raw;
  std::string text;
  for (int i = 0; i < n_words; ++i) text += i % 3 == 0 ? " one" : " word";
  request.messages = {{Role::user, text, {}}};
  request.sampling.max_new_tokens = n_new;
  request.sampling.ignore_end = true;
  return request;
}

Trace trace_of(EngineOptions options, const Request& request) {
  options.logits = LogitRows::all;
  return Engine(options).trace(request);
}

void expect_same(const Trace& a, const Trace& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].name, b[i].name);
    EXPECT_EQ(a[i].integers, b[i].integers) << a[i].name;
    EXPECT_EQ(a[i].floats, b[i].floats) << a[i].name;
  }
}

std::uint64_t region_bytes(const Plan& plan, const std::string& name) {
  const auto is_it = [&](const RegionPlan& region) { return region.name == name; };
  const auto found = std::find_if(plan.regions.begin(), plan.regions.end(), is_it);
  EXPECT_NE(found, plan.regions.end()) << name;
  return found == plan.regions.end() ? 0 : found->bytes;
}

TEST(SeveralDevices, GiveTheBitsOfOneOfTheirKind) {
  for (const char* folder : {"text-llama", "text-mistral-window", "text-phi3-longrope"}) {
    SCOPED_TRACE(folder);
    const Request request = text_request(40);
    expect_same(trace_of(options_for(folder, "cuda-emulated"), request),
                trace_of(options_for(folder, both_emulated), request));
  }
}

TEST(SeveralDevices, GiveTheBitsOfOneOfTheirKindForPictures) {
  for (const char* folder : {"llava-1.5", "internlm-xcomposer2-vl"}) {
    for (const TowerPlacement tower : {TowerPlacement::resident, TowerPlacement::staged}) {
      SCOPED_TRACE(folder);
      Request request = text_request(6);
      request.messages.front().images = {load_image(goldens / "images/wide.jpg")};
      EngineOptions one = options_for(folder, "cuda-emulated");
      one.tower_placement = tower;
      EngineOptions two = one;
      two.device = both_emulated;
      expect_same(trace_of(one, request), trace_of(two, request));
    }
  }
}

TEST(SeveralDevices, SharePagesAndAnswerBatchesAsOneDoes) {
  const auto texts_on = [](const std::string& device) {
    EngineOptions options = options_for("text-llama", device);
    options.batch = 3;
    Engine engine(options);
    std::vector<std::string> texts;
    std::size_t next = 0;
    std::int64_t cached = 0;
    engine.generate_all(
        [&]() -> std::optional<Task> {
          // Beginnings of 20, 21, ... words are shared, and the page in which they part is copied.
          if (next == 6) return std::nullopt;
          Request request = text_request(20 + static_cast<int>(next++ % 4), 8);
          request.reuse = PrefixReuse::cached;
          return Task{std::move(request), {}};
        },
        [&](const Outcome& outcome) {
          texts.resize(std::max(texts.size(), outcome.task + 1));
          texts[outcome.task] = outcome.completion->text;
          cached += outcome.completion->cached_tokens;
          return true;
        });
    EXPECT_GT(cached, 0);
    return texts;
  };
  const std::vector<std::string> alone = texts_on("cuda-emulated");
  EXPECT_EQ(texts_on(both_emulated), alone);
  EXPECT_EQ(texts_on("cuda-emulated,cpu"), alone);
}

TEST(SeveralDevices, StreamTheirOwnLayers) {
  const Request request = text_request(20);
  EngineOptions options = options_for("text-llama3", "");
  options.prefill_chunk = 8;
  for (const char* devices : {both_emulated, "cuda-emulated:1,cpu"}) {
    options.device = devices;
    options.streamed_layers = 0;
    const std::string resident = Engine(options).generate(request).text;
    for (const std::int64_t n : {2, 3}) {
      SCOPED_TRACE(std::string(devices) + ", streamed " + std::to_string(n));
      options.streamed_layers = n;
      simt::set_stream_order(n == 2 ? simt::StreamOrder::late : simt::StreamOrder::copies_early);
      EXPECT_EQ(Engine(options).generate(request).text, resident);
    }
    simt::set_stream_order(simt::StreamOrder::late);
  }
}

TEST(SeveralDevices, UseEveryRegionAsPlanned) {
  std::vector<std::unique_ptr<backend::Backend>> devices;
  devices.push_back(backend::emulated::make_backend(1, backend::CudaProducts::tensor_cores));
  devices.push_back(backend::make_cpu_backend(2));
  devices.push_back(backend::emulated::make_backend(0, backend::CudaProducts::fp32));
  for (const char* folder : {"text-mistral-window", "internlm-xcomposer2-vl", "llava-1.5"}) {
    const ModelFiles files = open_model(goldens / folder);
    const auto n_layers = static_cast<std::size_t>(files.description.decoder.n_layers);
    devices.resize(std::min(devices.size(), n_layers));
    const backend::Backends backends(devices);
    for (const bool staged : {false, true}) {
      for (const Precision precision : {Precision::fp32, Precision::int4}) {
        SCOPED_TRACE(std::string(folder) + (staged ? ", staged" : ""));
        EngineOptions options = options_for(folder, "");
        options.precision = precision;
        options.kv = precision == Precision::int4 ? KvPrecision::int8 : KvPrecision::automatic;
        options.prefill_chunk = 48;
        options.batch = staged ? 3 : 1;
        options.streamed_layers = staged ? 2 : 0;
        options.tower_placement = staged ? TowerPlacement::staged : TowerPlacement::resident;
        const Demand demand{0, largest_picture(files, std::nullopt)};
        const Settled settled = settle(files, options, demand, backends);
        ASSERT_EQ(settled.configuration.stage_layers.size(), devices.size());
        Executor executor(files.checkpoint, files.description, settled.configuration, backends,
                          reserve(settled.rehearsal, backends));
        test::run_planned_request(executor);
        if (staged) test::run_planned_request(executor);
        for (std::size_t i = 0; i < executor.n_stages(); ++i) {
          const memory::Occupancy& planned = settled.rehearsal.stages[i].memory;
          EXPECT_EQ(executor.arena(i).occupancy().by_phase, planned.by_phase) << "device " << i;
          EXPECT_EQ(executor.arena(i).occupancy().total(), planned.total()) << "device " << i;
          if (i == 0) continue;
          // The rows that are handed over have their place beside everything else.
          const auto rows = static_cast<std::uint64_t>(48 * files.description.decoder.hidden_size * 4);
          const auto in_staging = planned.by_phase[static_cast<std::size_t>(backend::Phase::prefill)]
                                                  [static_cast<std::size_t>(memory::RegionId::staging)];
          EXPECT_GE(in_staging, rows) << "device " << i;
        }
      }
    }
  }
}

TEST(SeveralDevices, TakeOfEachWhatThePlanSays) {
  const std::size_t before[] = {simt::free_device_memory(0), simt::free_device_memory(1)};
  {
    Engine engine(options_for("text-llama", both_emulated));
    const Plan& plan = engine.plan();
    ASSERT_EQ(plan.devices.size(), 2U);
    std::uint64_t n_layers = 0;
    for (int i = 0; i < 2; ++i) {
      const DevicePlan& device = plan.devices[static_cast<std::size_t>(i)];
      EXPECT_EQ(device.name, "cuda-emulated:" + std::to_string(i));
      EXPECT_EQ(device.peak_bytes, before[i] - simt::free_device_memory(i));
      EXPECT_EQ(static_cast<std::uint64_t>(device.first_layer), n_layers);
      n_layers += static_cast<std::uint64_t>(device.n_layers);
      EXPECT_GT(region_bytes(plan, device.name + " weights"), 0U);
      EXPECT_GT(region_bytes(plan, device.name + " kv"), 0U);
      EXPECT_GT(region_bytes(plan, device.name + " driver"), 0U);
    }
    EXPECT_EQ(n_layers, 2U);
    engine.generate(text_request(30));
    for (const RegionUse& use : engine.memory()) EXPECT_LE(use.high_water, use.planned) << use.name;
  }
  EXPECT_EQ(simt::free_device_memory(0), before[0]);
  EXPECT_EQ(simt::free_device_memory(1), before[1]);
}

/// A decoder of 32 layers and 12 GiB.
EngineOptions large_decoder(const std::string& devices) {
  EngineOptions options;
  options.shape = "llama-7b";
  options.precision = Precision::fp16;
  options.device = devices;
  options.context = 512;
  return options;
}

TEST(LayerSplit, FollowsTheShares) {
  EngineOptions options = large_decoder(both_emulated);
  const auto layers_with = [&](std::vector<std::uint64_t> split) {
    options.split = std::move(split);
    const Plan plan = plan_model(options);
    for (std::size_t i = 0; i < plan.devices.size(); ++i) {
      EXPECT_LE(plan.devices[i].peak_bytes, options.split[i]);
      EXPECT_EQ(plan.devices[i].share_bytes, options.split[i]);
    }
    return std::vector{plan.devices[0].n_layers, plan.devices[1].n_layers};
  };
  constexpr std::uint64_t gib = std::uint64_t{1} << 30;
  EXPECT_EQ(layers_with({10 * gib, 10 * gib}), (std::vector<std::int64_t>{16, 16}));
  const auto uneven = layers_with({12 * gib, 4 * gib});
  EXPECT_EQ(uneven[0] + uneven[1], 32);
  EXPECT_GE(uneven[0], 24);
}

TEST(LayerSplit, KnowsThatStreamedLayersTakeTwoSlots) {
  EngineOptions options = large_decoder(both_emulated);
  options.streamed_layers = 24;
  constexpr std::uint64_t gib = std::uint64_t{1} << 30;
  options.split = {3 * gib, 4 * gib};  // all layers resident would take 6 GiB of each
  const Plan plan = plan_model(options);
  EXPECT_EQ(plan.devices[0].n_layers + plan.devices[1].n_layers, 32);
  EXPECT_LT(plan.devices[0].n_layers, plan.devices[1].n_layers);
  // Of each device's layers three quarters, of which two are there at a time.
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_LE(plan.devices[i].peak_bytes, options.split[i]);
    const std::uint64_t layer = 2 * (4 * 4096 * 4096 + 3 * 4096 * 11008);
    const auto n_resident = static_cast<std::uint64_t>(plan.devices[i].n_layers) / 4 + 1;
    const std::uint64_t table = 32000 * 4096 * 2;
    EXPECT_LE(region_bytes(plan, plan.devices[i].name + " weights"), table + (n_resident + 2) * layer);
  }
}

TEST(LayerSplit, GivesTheCpuOnlyWhatTheOthersHaveNoRoomFor) {
  EngineOptions options = large_decoder("cuda-emulated,cpu");
  const Plan ample = plan_model(options);
  EXPECT_EQ(ample.devices[0].n_layers, 31);
  const std::size_t before = simt::device_memory();
  simt::set_device_memory(std::size_t{8} << 30);
  const Plan tight = plan_model(options);
  simt::set_device_memory(before);
  EXPECT_LT(tight.devices[0].n_layers, 25);
  EXPECT_GT(tight.devices[0].n_layers, 15);
  EXPECT_LE(tight.devices[0].peak_bytes, std::uint64_t{8} << 30);
  // One layer more would not have fitted.
  const std::uint64_t layer = region_bytes(tight, "cuda-emulated:0 weights") / 20;
  EXPECT_GT(tight.devices[0].peak_bytes + layer, std::uint64_t{8} << 30);
}

TEST(LayerSplit, NamesTheDeviceThatHasTooLittle) {
  EngineOptions options = options_for("text-llama", both_emulated);
  const Plan plan = plan_model(options);
  options.split = {plan.devices[0].peak_bytes, plan.devices[1].peak_bytes - 64};
  const std::string message = test::error_of(ErrorCode::memory, [&] { Engine engine(options); });
  test::expect_says(message, "cuda-emulated:1 has " + std::to_string(options.split[1]) +
                                 " bytes for it (--split) and needs " +
                                 std::to_string(plan.devices[1].peak_bytes) +
                                 " with 1 of the 2 layers: 64 too few; 0 layers would fit there");
  options.split = {plan.devices[0].peak_bytes, plan.devices[1].peak_bytes};
  Engine engine(options);
  EXPECT_FALSE(engine.generate(text_request(4)).text.empty());
}

TEST(LayerSplit, AFitSearchKeepsToTheShares) {
  EngineOptions options = options_for("text-llama", both_emulated);
  options.context = 0;
  options.memory_limit = std::uint64_t{1} << 30;
  const Plan free = plan_model(options);
  options.split = {free.devices[0].peak_bytes - 1, free.devices[1].peak_bytes - 1};
  const Plan kept = plan_model(options);
  EXPECT_NE(kept.choice, free.choice);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_LE(kept.devices[i].peak_bytes, options.split[i]);
  options.split = {4096, 4096};
  test::expect_says(test::error_of(ErrorCode::memory, [&] { plan_model(options); }),
                    "layers would fit there");
}

TEST(LayerSplit, AFitSearchStreamsLayersOfEveryDeviceWhereNothingElseFits) {
  EngineOptions options = large_decoder(both_emulated);
  options.kv = KvPrecision::fp16;
  options.embeddings_precision = options.output_precision = Precision::fp16;
  constexpr std::uint64_t gib = std::uint64_t{1} << 30;
  const auto streamed_in = [&](std::uint64_t budget) {
    options.memory_limit = budget;
    const Plan plan = plan_model(options);
    EXPECT_LE(plan.peak_bytes, budget);
    EXPECT_EQ(plan.devices[0].n_layers + plan.devices[1].n_layers, 32);
    for (const DevicePlan& device : plan.devices) {
      // Some stay, or slots for two.
      const std::uint64_t layer = 2 * (4 * 4096 * 4096 + 3 * 4096 * 11008);
      const std::uint64_t table = 32000 * 4096 * 2;
      const auto n_resident = static_cast<std::uint64_t>(device.n_layers * (32 - plan.streamed_layers) / 32);
      EXPECT_GE(region_bytes(plan, device.name + " weights"), n_resident * layer);
      EXPECT_LE(region_bytes(plan, device.name + " weights"), table + (n_resident + 3) * layer);
    }
    return plan.streamed_layers;
  };
  EXPECT_EQ(streamed_in(14 * gib), 0);
  EXPECT_EQ(streamed_in(12 * gib), 8);
  EXPECT_EQ(streamed_in(7 * gib), 24);
  options.split = {gib * 5 / 2, gib * 5 / 2};
  EXPECT_EQ(streamed_in(12 * gib), 32) << "the shares count too";
}

TEST(SeveralDevices, RefuseWhatCannotBeInOneSentence) {
  EngineOptions options = options_for("text-llama", "");
  const auto refusal = [&](const char* device, std::vector<std::uint64_t> split = {}) {
    options.device = device;
    options.split = std::move(split);
    return test::error_of(ErrorCode::usage, [&] { Engine engine(options); });
  };
  test::expect_says(refusal("cuda-emulated,tpu"), "device is \"tpu\"");
  test::expect_says(refusal("cuda-emulated,"), "device is \"\"");
  test::expect_says(refusal("auto,cpu"), "device is \"auto\"");
  test::expect_says(refusal("cuda-emulated,cuda-emulated:0"), "cuda-emulated:0 was named twice");
  test::expect_says(refusal("cpu,cpu"), "cpu was named twice");
  test::expect_says(refusal("cuda-emulated:2"), "this machine has cuda-emulated:0 to cuda-emulated:1");
  test::expect_says(refusal("cpu", {1 << 30}), "1 share was given for 1 device");
  test::expect_says(refusal("cuda-emulated,cpu", {1 << 30}), "1 share was given for 2 devices");
  test::expect_says(refusal("cuda-emulated:0,cpu,cuda-emulated:1"), "3 devices were named");
}

TEST(SeveralDevices, AnErrorNamesItsDevice) {
  const std::size_t before = simt::device_memory(1);
  simt::set_device_memory(96 << 10, 1);
  const std::string message =
      test::error_of(ErrorCode::memory, [] { Engine engine(options_for("text-llama", both_emulated)); });
  simt::set_device_memory(before, 1);
  test::expect_says(message, "cuda-emulated:1");
}

}  // namespace
}  // namespace galago::runtime
