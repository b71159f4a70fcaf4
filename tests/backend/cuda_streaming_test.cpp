// Weights on their way to a device beside its work: what arrives, and that nothing overtakes anything, in
// every order that streams leave open.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/scratch.h"
#include "galago/galago.h"
#include "runtime/load/shape_model.h"
#include "runtime/load/weight_loader.h"
#include "runtime/plan/fit.h"
#include "simt/fault.h"
#include "simt/memory.h"
#include "support/random.h"
#include "tensor/convert.h"

namespace galago::runtime {
namespace {

using memory::Arena;
using memory::RegionId;
using simt::StreamOrder;

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;
constexpr StreamOrder orders[] = {StreamOrder::late, StreamOrder::copies_early};

class OnADevice : public ::testing::TestWithParam<StreamOrder> {
 protected:
  OnADevice() { simt::set_stream_order(GetParam()); }
  ~OnADevice() override { simt::set_stream_order(StreamOrder::late); }
};

/// A file with two matrices whose weights are larger than what is copied at once, one of rows in another
/// order.
class LargeMatrices {
 public:
  LargeMatrices() {
    const auto values = ::galago::testing::random_floats(rows * cols, 7);
    std::vector<std::byte> bytes(rows * cols * size_of(DType::f16));
    from_f32(DType::f16, values, bytes);
    const auto file = scratch_ / "model.safetensors";
    checkpoint::write_safetensors(
        file, std::array{checkpoint::TensorToWrite{"a", DType::f16, {rows, cols}, bytes}});
    checkpoint_.files.push_back(MappedFile(file));
    const auto entry = checkpoint::read_safetensors_header(checkpoint_.files[0].bytes(), "file").front();
    checkpoint_.tensors.emplace("a", checkpoint::TensorSource{0, entry, {rows, cols}, {}});
    const std::vector<checkpoint::RowRun> odd_first{{1, rows / 2, 2}, {0, rows / 2, 2}};
    checkpoint_.tensors.emplace("b", checkpoint::TensorSource{0, entry, {rows, cols}, odd_first});
  }

  /// Both matrices, a vector that was computed, and one made of a matrix, as they lie in memory.
  std::vector<std::byte> load(const WeightFormat& format, memory::DeviceMemory* device, int threads = 1) {
    Configuration configuration;
    configuration.host_threads = threads;
    configuration.decoder_format = format;
    Arena plan = Arena::planning(memory::lasting_by_default(), device);
    load_into(plan, configuration);
    Arena arena = Arena::laid_out(plan.occupancy(), device);
    const std::vector<Weight> weights = load_into(arena, configuration);
    EXPECT_EQ(arena.high_water(), plan.high_water());
    std::vector<std::byte> all;
    for (const Weight& weight : weights) {
      const auto* const from = static_cast<const std::byte*>(weight.data);
      const std::size_t before = all.size();
      all.resize(before + weight.bytes());
      const std::span<std::byte> to(all.data() + before, weight.bytes());
      if (device != nullptr) {
        device->download(to, from);
      } else {
        std::memcpy(to.data(), from, to.size());
      }
    }
    return all;
  }

 private:
  static constexpr std::int64_t rows = 700, cols = 1536;  // 2.05 MiB in FP16

  std::vector<Weight> load_into(Arena& arena, const Configuration& configuration) {
    WeightLoader loader(checkpoint_, configuration, arena);
    const std::array<model::NamedShape, 2> both{{{"b", {rows, cols}}, {"a", {rows, cols}}}};
    const std::vector<float> counted{1, 2, 3};
    std::vector<Weight> weights;
    weights.push_back(loader.matrix(model::Part::decoder, both));
    weights.push_back(loader.constant(counted));
    const auto negative = [](std::span<const float> from, std::span<float> to) {
      for (std::size_t i = 0; i < to.size(); ++i) to[i] = -from[i];
    };
    weights.push_back(loader.derived(both[1], {rows * cols / 2}, negative));
    return weights;
  }

  test::Scratch scratch_;
  checkpoint::Checkpoint checkpoint_;
};

TEST_P(OnADevice, LoadedWeightsAreTheHostsToTheBit) {
  LargeMatrices matrices;
  const auto backend = backend::emulated::make_backend(0, backend::CudaProducts::fp32);
  for (const WeightFormat& format : {WeightFormat(DType::f16), WeightFormat(DType::f32),
                                     WeightFormat(Grouped{4, 32, DType::f16, GroupOffset::minimum})}) {
    SCOPED_TRACE(describe(format));
    for (const int threads : {1, 3}) {
      EXPECT_EQ(matrices.load(format, backend->device_memory(), threads), matrices.load(format, nullptr));
    }
  }
}

TEST_P(OnADevice, AWeightIsCopiedAfterTheWorkThatHadItsPlaceAndIsThereInTheEnd) {
  const auto backend = backend::emulated::make_backend(0, backend::CudaProducts::fp32);
  memory::DeviceMemory& device = *backend->device_memory();
  memory::RegionSizes sizes{};
  sizes[static_cast<std::size_t>(RegionId::weights)] = 64;
  sizes[static_cast<std::size_t>(RegionId::staging)] = 4 << 20;
  memory::Occupancy planned;
  planned.by_phase.fill(sizes);
  Arena arena = Arena::laid_out(planned, &device);
  const Matrix place = arena.matrix(RegionId::weights, 1, 2);
  auto* const bytes = reinterpret_cast<std::byte*>(place.data);
  const std::vector<float> first{1, 1};
  const std::vector<float> second{3, 4};
  device.upload(bytes, std::as_bytes(std::span(first)));
  backend::Queue queue(memory::Mode::run);
  backend::Execution exec{arena, queue};
  backend->rms_norm(exec, place, {place.data, DType::f32, {2}}, 1e-5F, place);
  {
    Delivery delivery(device, arena.region(RegionId::staging));
    delivery.turn_to(bytes);
    delivery.put(std::as_bytes(std::span(second)));
    delivery.copy();
  }
  std::vector<float> there(2);
  device.download(std::as_writable_bytes(std::span(there)), bytes);
  EXPECT_EQ(there, second);
}

TEST_P(OnADevice, WhatIsUploadedFromPinnedMemoryMayChangeAfterwards) {
  const auto backend = backend::emulated::make_backend(0, backend::CudaProducts::fp32);
  memory::DeviceMemory& device = *backend->device_memory();
  std::byte* const pinned = device.reserve_pinned(64);
  std::byte* const block = device.reserve(64);
  pinned[5] = std::byte{1};
  device.upload(block, {pinned, 64});
  pinned[5] = std::byte{2};
  std::array<std::byte, 64> there{};
  device.download(there, block);
  EXPECT_EQ(there[5], std::byte{1});
  device.release(block);
  device.release_pinned(pinned);
}

void expect_same_trace(EngineOptions options, const Request& request) {
  const std::int64_t n_streamed = std::exchange(options.streamed_layers, 0);
  const Trace resident = Engine(options).trace(request);
  options.streamed_layers = n_streamed;
  Engine engine(options);
  for (int pass = 0; pass < 2; ++pass) {
    const Trace streamed = engine.trace(request);
    ASSERT_EQ(streamed.size(), resident.size());
    for (std::size_t i = 0; i < resident.size(); ++i) {
      SCOPED_TRACE(resident[i].name);
      EXPECT_EQ(streamed[i].integers, resident[i].integers);
      EXPECT_EQ(streamed[i].floats, resident[i].floats);
    }
  }
  for (const RegionUse& region : engine.memory()) EXPECT_LE(region.high_water, region.planned) << region.name;
}

Request request_for(const std::string& text) {
  Request request;
  request.messages = {{Role::user, text, {}}};
  request.sampling.max_new_tokens = 6;
  request.sampling.ignore_end = true;
  return request;
}

TEST_P(OnADevice, StreamedLayersComputeWhatResidentOnesDoToTheBit) {
  EngineOptions options;
  options.model = goldens / "text-llama3";
  options.device = "cuda-emulated";
  options.context = 64;
  options.prefill_chunk = 8;
  options.logits = LogitRows::all;
  for (const Precision precision : {Precision::automatic, Precision::int4}) {
    options.precision = precision;
    for (const std::int64_t n : {1, 2, 3}) {
      SCOPED_TRACE(n);
      options.streamed_layers = n;
      expect_same_trace(options, request_for("The quick brown fox jumps"));
    }
  }
}

TEST_P(OnADevice, StreamedLayersAndAStagedTowerComputeWhatResidentOnesDoToTheBit) {
  EngineOptions options;
  options.model = goldens / "internvl2-llama";
  options.device = "cuda-emulated";
  options.context = 600;
  options.tower_placement = TowerPlacement::staged;
  options.logits = LogitRows::all;
  options.streamed_layers = 2;
  Request request = request_for("What is it?");
  request.messages[0].images.push_back(load_image(goldens / "images/gray.png"));
  expect_same_trace(options, request);
}

TEST(StreamedLayersOnADevice, RunAModelThatIsLargerThanTheDevice) {
  EngineOptions options;
  options.model = goldens / "text-llama3";
  options.device = "cuda-emulated";
  options.context = 64;
  const std::size_t before = simt::device_memory();
  const std::size_t free = simt::free_device_memory();
  std::size_t needed = 0;
  {
    Engine resident(options);
    needed = free - simt::free_device_memory();
  }
  simt::set_device_memory(before - free + needed - 1);
  test::error_of(ErrorCode::memory, [&] { Engine engine(options); });
  options.streamed_layers = 3;
  Request request = request_for("Hi");
  EXPECT_EQ(Engine(options).generate(request).token_ids.size(), 6U);
  simt::set_device_memory(before);
}

TEST(StreamedLayersOnADevice, AreOfferedByTheFitSearch) {
  const Blueprint model = model_of_shape("llama-7b");
  EngineOptions options;
  options.precision = Precision::fp16;
  options.context = 2048;
  options.memory_limit = 4ULL << 30;
  const auto backend = backend::emulated::make_backend(0, backend::CudaProducts::fp32);
  const Settled settled = settle(model, options, {}, *backend);
  EXPECT_GT(settled.plan.streamed_layers, 0);
  EXPECT_LE(settled.plan.peak_bytes, options.memory_limit);
}

INSTANTIATE_TEST_SUITE_P(Orders, OnADevice, ::testing::ValuesIn(orders));

}  // namespace
}  // namespace galago::runtime
