// The CUDA backend on the emulated device: what ops make of rows however many there are, exact plans, and
// errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "checkpoint/scratch.h"
#include "galago/galago.h"
#include "simt/fault.h"
#include "simt/memory.h"
#include "support/random.h"
#include "support/sanitizer.h"
#include "tensor/convert.h"
#include "tensor/grouped.h"

namespace galago::backend {
namespace {

using ::galago::testing::random_floats;
using memory::Arena;
using memory::RegionId;

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

/// A backend, and the arena of one op on it, planned and then reserved.
class Bench {
 public:
  explicit Bench(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

  std::vector<float> linear(const std::vector<float>& x, std::int64_t rows,
                            const std::vector<std::byte>& weight_bytes, Weight w,
                            const std::vector<float>& residual, bool gated) {
    const std::int64_t k = w.cols();
    const std::int64_t n = gated ? w.rows() / 2 : w.rows();
    std::vector<float> result(static_cast<std::size_t>(rows * n));
    const auto run = [&](Arena& arena) {
      Queue queue(arena.mode());
      Execution exec{arena, queue};
      std::byte* const place = arena.region(RegionId::weights).take(weight_bytes.size());
      w.data = place;
      const Matrix from = arena.matrix(RegionId::activations, rows, k);
      const Matrix y = arena.matrix(RegionId::activations, rows, n);
      if (arena.mode() == memory::Mode::run) {
        put(arena, place, weight_bytes);
        put(arena, reinterpret_cast<std::byte*>(from.data), std::as_bytes(std::span(x)));
        put(arena, reinterpret_cast<std::byte*>(y.data), std::as_bytes(std::span(residual)));
      }
      if (gated) {
        backend_->gated_linear(exec, from, w, Activation::silu, y);
      } else {
        backend_->linear(exec, from, w, {.residual = y}, y);
      }
      if (arena.mode() == memory::Mode::run) get(arena, y, result);
    };
    Arena plan = Arena::planning(memory::lasting_by_default(), backend_->device_memory());
    run(plan);
    Arena arena = Arena::laid_out(plan.occupancy(), backend_->device_memory());
    run(arena);
    EXPECT_EQ(arena.high_water(), plan.high_water());
    return result;
  }

 private:
  static void put(Arena& arena, std::byte* to, std::span<const std::byte> from) {
    if (arena.device() != nullptr) return arena.device()->upload(to, from);
    std::copy(from.begin(), from.end(), to);
  }
  static void get(Arena& arena, const Matrix& from, std::vector<float>& to) {
    const auto* bytes = reinterpret_cast<const std::byte*>(from.data);
    if (arena.device() != nullptr)
      return arena.device()->download(std::as_writable_bytes(std::span(to)), bytes);
    std::copy(from.data, from.data + to.size(), to.begin());
  }

  std::unique_ptr<Backend> backend_;
};

TEST(CudaBackend, ProductsOfFewRowsAndManyEqualTheCpus) {
  const Grouped int4{4, 32, DType::f16, GroupOffset::minimum, Codebook::none};
  Bench cpu(make_cpu_backend(1));
  Bench cuda(emulated::make_backend(0, CudaProducts::fp32));
  Bench tensor(emulated::make_backend(0, CudaProducts::tensor_cores));
  for (const WeightFormat& format :
       {WeightFormat(DType::f32), WeightFormat(DType::f16), WeightFormat(DType::bf16), WeightFormat(int4)}) {
    for (const std::int64_t rows : {1, 8, 9, 64, 700}) {
      for (const bool gated : {false, true}) {
        const std::int64_t n = 26;
        const std::int64_t k = 72;
        const auto values = random_floats(static_cast<std::size_t>(n * k), 1);
        std::vector<std::byte> bytes(static_cast<std::size_t>(n) * format.row_bytes(k));
        for (std::int64_t row = 0; row < n; ++row) {
          const std::span from(values.data() + row * k, static_cast<std::size_t>(k));
          const std::span to(bytes.data() + static_cast<Bytes>(row) * format.row_bytes(k),
                             format.row_bytes(k));
          if (format.is_grouped()) {
            ASSERT_TRUE(encode_row(format.grouped(), from, to));
          } else {
            from_f32(format.dtype(), from, to);
          }
        }
        const auto x = random_floats(static_cast<std::size_t>(rows * k), 2);
        const auto residual = random_floats(static_cast<std::size_t>(rows * n / (gated ? 2 : 1)), 3);
        const Weight w{nullptr, format, {n, k}};
        const auto expected = cpu.linear(x, rows, bytes, w, residual, gated);
        const auto result = cuda.linear(x, rows, bytes, w, residual, gated);
        // Beyond few rows x is rounded to the weights' 16-bit type; sums of 72 values, and products of two of
        // them.
        const double tolerance = rows <= 8 || format == WeightFormat(DType::f32) ? 2e-5
                                 : format == WeightFormat(DType::bf16)           ? 0.05
                                                                                 : 0.01;
        for (std::size_t i = 0; i < result.size(); ++i) {
          ASSERT_NEAR(result[i], expected[i], tolerance * (1 + std::abs(expected[i])))
              << describe(format) << ", rows " << rows << ", element " << i;
        }
        if (rows > 64) continue;  // the same way for both
        const auto narrowed = tensor.linear(x, rows, bytes, w, residual, gated);
        for (std::size_t i = 0; i < result.size(); ++i) {
          ASSERT_NEAR(narrowed[i], expected[i], tolerance * (1 + std::abs(expected[i])))
              << "tensor cores, " << describe(format) << ", rows " << rows << ", element " << i;
        }
      }
    }
  }
}

/// All that a weight may be stored in.
std::vector<Grouped> grouped_formats() {
  std::vector<Grouped> formats;
  for (const std::uint8_t bits : {4, 8}) {
    for (const std::int32_t group : {16, 32, 64, 128}) {
      for (const DType scale : {DType::f16, DType::f32}) {
        for (const GroupOffset offset : {GroupOffset::none, GroupOffset::minimum, GroupOffset::zero_point}) {
          formats.push_back({bits, group, scale, offset, Codebook::none});
        }
        if (bits == 4) formats.push_back({bits, group, scale, GroupOffset::none, Codebook::nf4});
      }
    }
  }
  return formats;
}

TEST(CudaBackend, TakesWeightsInEveryFormatThereIs) {
  const std::int64_t n = 10;
  const std::int64_t k = 200;
  const auto values = random_floats(static_cast<std::size_t>(n * k), 4);
  Bench cpu(make_cpu_backend(1));
  Bench cuda(emulated::make_backend(0, CudaProducts::tensor_cores));
  for (const Grouped& format : grouped_formats()) {
    const Weight w{nullptr, format, {n, k}};
    std::vector<std::byte> bytes(w.bytes());
    for (std::int64_t row = 0; row < n; ++row) {
      const Bytes row_bytes = w.format.row_bytes(k);
      ASSERT_TRUE(encode_row(format, {values.data() + row * k, static_cast<std::size_t>(k)},
                             {bytes.data() + static_cast<Bytes>(row) * row_bytes, row_bytes}));
    }
    for (const std::int64_t rows : {1, 12}) {
      const auto x = random_floats(static_cast<std::size_t>(rows * k), 5);
      const std::vector<float> residual(static_cast<std::size_t>(rows * n), 0.0F);
      const auto expected = cpu.linear(x, rows, bytes, w, residual, false);
      const auto result = cuda.linear(x, rows, bytes, w, residual, false);
      for (std::size_t i = 0; i < result.size(); ++i) {
        // Beyond few rows x is rounded to FP16; sums of 200 products.
        ASSERT_NEAR(result[i], expected[i], 0.02)
            << describe(format) << ", rows " << rows << ", element " << i;
      }
    }
  }
}

EngineOptions options_for(const char* folder) {
  EngineOptions options;
  options.model = goldens / folder;
  options.device = "cuda-emulated";
  options.context = 200;
  return options;
}

TEST(CudaBackend, SaysInEveryPlanThatItIsEmulated) {
  Engine engine(options_for("text-llama"));
  EXPECT_NE(engine.plan().device.find("cuda-emulated:0 (emulated, not a GPU"), std::string::npos)
      << engine.plan().device;
}

TEST(CudaBackend, UsesWhatWasPlannedAndNoMore) {
  for (const char* folder : {"text-llama", "llava-1.5", "internvl2-phi3"}) {
    SCOPED_TRACE(folder);
    const std::size_t free_before = simt::free_device_memory();
    {
      EngineOptions options = options_for(folder);
      options.context = 160;
      Engine engine(options);
      std::uint64_t on_device = 0;
      for (const RegionUse& region : engine.memory()) {
        if (region.name != "staging") on_device += region.planned;
      }
      const auto& regions = engine.plan().regions;
      const auto driver = std::find_if(regions.begin(), regions.end(),
                                       [](const RegionPlan& region) { return region.name == "driver"; });
      ASSERT_NE(driver, regions.end());
      EXPECT_GT(driver->bytes, 0U);
      on_device += driver->bytes;
      EXPECT_EQ(free_before - simt::free_device_memory(), on_device) << "one block, of the planned size";
      Request request;
      request.form = PromptForm::raw;
      std::string text;
      for (int i = 0; i < 30; ++i) text += " word";
      request.messages = {{Role::user, text, {}}};
      request.sampling.max_new_tokens = 4;
      const Completion completion = engine.generate(request);
      EXPECT_GT(completion.prompt_tokens, 30);
      for (const RegionUse& region : engine.memory())
        EXPECT_LE(region.high_water, region.planned) << region.name;
    }
    EXPECT_EQ(simt::free_device_memory(), free_before);
  }
}

TEST(CudaBackend, TooLittleDeviceMemorySaysWhatIsFreeAndNeeded) {
  const std::size_t before = simt::device_memory();
  simt::set_device_memory(128 << 10);
  const std::string message =
      test::error_of(ErrorCode::memory, [] { Engine engine(options_for("text-llama")); });
  simt::set_device_memory(before);
  EXPECT_NE(message.find("has 81920 of 131072 bytes free"), std::string::npos) << message;
  EXPECT_NE(message.find("are needed"), std::string::npos) << message;
  EXPECT_NE(message.find("no configuration fits now"), std::string::npos) << message;
}

TEST(CudaBackend, TooLittleDeviceMemoryNamesTheBestThatFitsNow) {
  EngineOptions options = options_for("text-llama");
  options.context = 0;
  const std::size_t before = simt::device_memory();
  const std::size_t used = before - simt::free_device_memory();
  std::uint64_t needed = 0;
  {
    Engine engine(options);
    needed = before - simt::free_device_memory() - used;
  }
  simt::set_device_memory(used + needed - 4096);
  const std::string message = test::error_of(ErrorCode::memory, [&] { Engine engine(options); });
  EXPECT_NE(message.find("4096 too few; what fits now is decoder"), std::string::npos) << message;
  const std::size_t at = message.find("--memory ");
  ASSERT_NE(at, std::string::npos) << message;
  options.memory_limit = std::stoull(message.substr(at + 9));
  if (!test::keeps_freed_memory) {
    EXPECT_NO_THROW(Engine{options});
  }
  simt::set_device_memory(before);
}

TEST(CudaBackend, AFaultNamesTheWorkAndTheProcessGoesOnOnTheCpu) {
  EngineOptions options = options_for("text-llama");
  Request request;
  request.messages = {{Role::user, "Hi", {}}};
  request.sampling.max_new_tokens = 2;
  {
    const auto backend = emulated::make_backend(0, CudaProducts::fp32);
    memory::Occupancy planned;
    planned.by_phase[0][static_cast<std::size_t>(RegionId::activations)] = 4096;
    Arena arena = Arena::laid_out(planned, backend->device_memory());
    Queue queue(memory::Mode::run);
    Execution exec{arena, queue};
    const Matrix x = arena.matrix(RegionId::activations, 4, 16);
    const Matrix beyond{x.data, 4, 1 << 20, 1 << 20};
    backend->rms_norm(exec, beyond, {x.data, DType::f32, {1 << 20}}, 1e-5F, beyond);
    const std::string message = test::error_of(ErrorCode::internal, [&] { backend->finish(); });
    EXPECT_NE(message.find("failed in the work up to rms_norm: kernel rms_norm, block"), std::string::npos)
        << message;
    test::error_of(ErrorCode::internal, [&] {
      backend->rms_norm(exec, x, {x.data, DType::f32, {16}}, 1e-5F, x);
    });
  }
  options.device = "cpu";
  Engine engine(options);
  EXPECT_NO_THROW(engine.generate(request));
  simt::take_device_fault();
}

TEST(CudaBackend, WhatKernelsDoNotTakeIsRefusedInThePlan) {
  const auto backend = emulated::make_backend(0, CudaProducts::tensor_cores);
  Arena plan = Arena::planning(memory::lasting_by_default(), backend->device_memory());
  Queue queue(memory::Mode::plan);
  Execution exec{plan, queue};
  const SequenceRows rows{0, 2, 0, {}};
  const StepRows step{{}, {&rows, 1}};
  const Heads wide{1, 1, 320, 1};
  const Matrix q = plan.matrix(RegionId::activations, 2, 320);
  const LayerPages pages{nullptr, 1 << 20, 16, DType::f16, 1};
  EXPECT_NE(test::error_of(ErrorCode::model, [&] { backend->attend_tile(exec, q, q, q, 2, wide, q); })
                .find("heads of 320 elements"),
            std::string::npos);
  test::error_of(ErrorCode::model, [&] { backend->attend_pages(exec, q, step, pages, wide, q); });
  const LayerPages coarse{nullptr, 1 << 20, 16, Grouped{8, 64, DType::f16, GroupOffset::none, Codebook::none},
                          1};
  const Heads usual{5, 5, 64, 1};
  EXPECT_NE(test::error_of(ErrorCode::usage, [&] { backend->append_kv(exec, q, q, step, usual, coarse); })
                .find("int8 in groups of 64"),
            std::string::npos);
}

/// What goes wrong from now on, and that `auto` means the emulated device meanwhile.
class Arranged {
 public:
  explicit Arranged(const simt::Failures& failures) {
    setenv("GALAGO_AUTO_IS_EMULATED", "1", 1);
    simt::set_failures(failures);
  }
  ~Arranged() {
    unsetenv("GALAGO_AUTO_IS_EMULATED");
    simt::set_failures({});
    simt::take_device_fault();
  }
  Arranged(const Arranged&) = delete;
  Arranged& operator=(const Arranged&) = delete;
};

TEST(CudaBackend, ADeviceThatCannotBeOpenedIsRefusedOrLeftForTheCpu) {
  EngineOptions options = options_for("text-llama");
  const auto expect = [&](const simt::Failures& failures, ErrorCode code, const char* words) {
    SCOPED_TRACE(words);
    const Arranged arranged(failures);
    options.device = "cuda-emulated";
    test::expect_says(test::error_of(code, [&] { Engine engine(options); }), words);
    options.device = "auto";
    EXPECT_EQ(Engine(options).plan().device.rfind("cpu (", 0), 0U);
  };
  expect({.driver = true}, ErrorCode::usage, "driver is made for CUDA 11.4, too old for this build");
  expect({.busy = true}, ErrorCode::internal,
         "failed at opening the device: CUDA-capable device(s) is/are busy");
  expect({.old = true}, ErrorCode::usage, "has compute capability 6.0, expected 7.5 or later");
  const Arranged nothing({});
  EXPECT_EQ(Engine(options).plan().device.rfind("cuda-emulated", 0), 0U);
}

TEST(CudaBackend, AKernelThatFailsInARequestIsADeviceErrorThatNamesIt) {
  const EngineOptions options = options_for("text-llama");
  Request request;
  request.messages = {{Role::user, "Hi", {}}};
  request.sampling.max_new_tokens = 2;
  for (const std::uint64_t launch : {1U, 7U, 40U}) {
    SCOPED_TRACE(launch);
    Engine engine(options);
    const Arranged arranged({.launch = launch});
    try {
      engine.generate(request);
      ADD_FAILURE() << "no error was thrown";
    } catch (const DeviceError& error) {
      test::expect_says(error.what(), "(emulated, not a GPU) failed in the work up to choose: kernel ");
      test::expect_says(error.what(), "a test wanted this launch to fail");
      test::expect_says(error.what(), "--device cpu");
    }
    EXPECT_THROW(engine.generate(request), DeviceError);
  }
}

TEST(CudaBackend, DevicesThatAreNotThereAreRefusedInOneSentence) {
  EngineOptions options = options_for("text-llama");
  for (const char* device : {"cuda:-1", "cuda:x", "tpu", "cuda:99999999999"}) {
    options.device = device;
    test::error_of(ErrorCode::usage, [&] { Engine engine(options); });
  }
  options.device = "cuda:250";
  test::error_of(ErrorCode::usage, [&] { Engine engine(options); });
}

}  // namespace
}  // namespace galago::backend
