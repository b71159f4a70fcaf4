// Steps of decoding on the emulated device, repeated as recorded: the same numbers as launch by launch, only
// where nothing but tokens changes, in memory that was planned.
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "checkpoint/scratch.h"
#include "runtime/executor.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/attention_window.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/planner.h"
#include "runtime/sequence.h"
#include "simt/fault.h"
#include "simt/memory.h"

namespace galago::backend {
namespace {

constexpr std::int64_t page_tokens = 16;
constexpr std::int64_t most_tokens = 96;

/// A small model on the emulated device, and sequences of their own pages.
class Decoding {
 public:
  /// `free_bytes`: of the device when it is opened; 0: all that there are.
  explicit Decoding(const char* golden, std::int64_t batch = 3, std::size_t free_bytes = 0,
                    const EngineOptions& options = {})
      : files_(open_files(golden, options)),
        backend_(open(free_bytes)),
        configuration_(configuration(options, batch)),
        executor_(files_.checkpoint, files_.description, configuration_, *backend_,
                  runtime::reserve(runtime::rehearse(files_, configuration_, *backend_), *backend_)) {
    const std::int64_t n_pages = most_tokens / page_tokens;
    for (std::int64_t i = 0; i < batch; ++i) {
      auto& pages = pages_.emplace_back(static_cast<std::size_t>(n_pages));
      std::iota(pages.rbegin(), pages.rend(), static_cast<PageId>(i * n_pages));
    }
  }

  /// A token of each of these sequences at these positions; the logits.
  std::vector<float> step(const std::vector<std::int64_t>& positions) {
    std::vector<SequenceRows> rows;
    for (std::size_t i = 0; i < positions.size(); ++i) {
      rows.push_back({static_cast<std::int64_t>(i), 1, positions[i], pages_[i]});
    }
    return step_rows(rows);
  }
  std::vector<float> step_rows(const std::vector<SequenceRows>& rows) {
    std::vector<std::int32_t> ids;
    for (const SequenceRows& row : rows) {
      ids.push_back(static_cast<std::int32_t>((row.first_position * 7 + row.first_row) % 50));
    }
    executor_.step(Phase::decode, ids, rows, static_cast<std::int64_t>(ids.size()));
    const Matrix logits = executor_.logits();
    return {logits.data, logits.data + logits.rows * logits.cols};
  }

  runtime::Executor& executor() { return executor_; }
  std::int64_t trained_length() const { return files_.description.decoder.rope.trained_length; }

 private:
  static runtime::ModelFiles open_files(const char* golden, const EngineOptions& options) {
    runtime::ModelFiles files = runtime::open_model(std::filesystem::path(GALAGO_GOLDENS_DIR) / golden);
    runtime::limit_windows(options, files.description.decoder);
    return files;
  }
  static std::unique_ptr<Backend> open(std::size_t free_bytes) {
    const std::size_t all = simt::device_memory();
    if (free_bytes > 0) simt::set_device_memory(all - simt::free_device_memory() + free_bytes);
    auto backend = emulated::make_backend(0, CudaProducts::tensor_cores);
    simt::set_device_memory(all);
    return backend;
  }
  runtime::Configuration configuration(EngineOptions options, std::int64_t batch) const {
    options.context = most_tokens;
    options.batch = batch;
    return runtime::configure(options, files_.description,
                              {0, runtime::largest_picture(files_, std::nullopt)});
  }

  runtime::ModelFiles files_;
  std::unique_ptr<Backend> backend_;
  runtime::Configuration configuration_;
  runtime::Executor executor_;
  std::vector<std::vector<PageId>> pages_;
};

TEST(StepGraphs, RepeatedStepsAreBitEqualToDirectOnes) {
  Decoding repeated("text-llama"), direct("text-llama");
  direct.executor().time_ops();
  const std::uint64_t before = simt::n_graph_launches();
  for (std::int64_t i = 0; i < 40; ++i) {
    ASSERT_EQ(repeated.step({i}), direct.step({i})) << "position " << i;
    if (i < 3) continue;
    // The batch grows; its sequences are of different lengths.
    ASSERT_EQ(repeated.step({i + 1, i - 3}), direct.step({i + 1, i - 3})) << "two, position " << i;
  }
  // All but the first of either size, and none of those that are timed.
  EXPECT_EQ(simt::n_graph_launches() - before, 39U + 36U);
  for (std::size_t op = 0; op < n_ops; ++op) {
    const auto phase = static_cast<std::size_t>(Phase::decode);
    EXPECT_EQ(repeated.executor().ledger().costs[phase][op].flops,
              direct.executor().ledger().costs[phase][op].flops);
    EXPECT_EQ(repeated.executor().ledger().costs[phase][op].bytes_read,
              direct.executor().ledger().costs[phase][op].bytes_read);
  }
}

TEST(StepGraphs, PagesThatAWindowGivesBackAreNotSeenByRepeatedSteps) {
  EngineOptions options;
  options.window = 20;
  options.sinks = 5;
  options.prefill_chunk = 16;
  Decoding repeated("text-llama", 1, 0, options), direct("text-llama", 1, 0, options);
  direct.executor().time_ops();
  const runtime::Configuration& configuration = repeated.executor().configuration();
  memory::PagePool pool(configuration.request_pages());
  runtime::Sequence sequence(pool, configuration.retention(), configuration.context, {});
  const std::uint64_t before = simt::n_graph_launches();
  for (std::int64_t i = 0; i < most_tokens; ++i) {
    sequence.append(std::vector<runtime::ContentKey>(1));
    const std::vector<SequenceRows> rows{{0, 1, i, sequence.pages(), 0, sequence.given_back()}};
    ASSERT_EQ(repeated.step_rows(rows), direct.step_rows(rows)) << "position " << i;
  }
  EXPECT_GT(sequence.given_back(), 0);
  EXPECT_EQ(simt::n_graph_launches() - before, most_tokens - 1);
}

/// A backend with a row of ones in its memory.
class OneRow {
 public:
  std::unique_ptr<Backend> backend = emulated::make_backend(0, CudaProducts::tensor_cores);
  memory::Arena arena = [this] {
    memory::Occupancy planned;
    planned.by_phase[0][static_cast<std::size_t>(memory::RegionId::activations)] = 4096;
    return memory::Arena::laid_out(planned, backend->device_memory());
  }();
  Queue queue{memory::Mode::run};
  Execution exec{arena, queue};
  Matrix row = arena.matrix(memory::RegionId::activations, 1, 16);

  OneRow() {
    const std::vector<float> ones(16, 1);
    backend->device_memory()->upload(reinterpret_cast<std::byte*>(row.data), std::as_bytes(std::span(ones)));
  }
  void normalise(float epsilon) { backend->rms_norm(exec, row, {row.data, DType::f32, {16}}, epsilon, row); }
};

TEST(StepGraphs, EveryPartOfTheKeyTellsStepsApart) {
  OneRow one;
  const StepKey key{1, std::nullopt, &one, nullptr, nullptr};
  std::vector<StepKey> keys(6, key);
  const std::int32_t rows = 0;
  keys[1].n_rows = 2;
  keys[2].adapter = 0;
  keys[3].adapter = 1;
  keys[4].rows = &rows;
  keys[5].results = one.row.data;
  std::vector<int> n_handed_in(keys.size());
  const std::uint64_t before = simt::n_graph_launches();
  for (int turn = 0; turn < 4; ++turn) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto work = [&] {
        one.normalise(1e-5F);
        ++n_handed_in[i];
      };
      one.backend->repeat(one.exec, keys[i], work);
    }
  }
  one.backend->finish();
  // In the second turn work is recorded, and told for its costs; afterwards for its costs only.
  EXPECT_EQ(n_handed_in, std::vector<int>(keys.size(), 1 + 2 + 1 + 1));
  EXPECT_EQ(simt::n_graph_launches() - before, 3 * keys.size());
}

TEST(StepGraphs, AFaultOfARepeatedStepNamesItsKernel) {
  Decoding decoding("text-llama");
  for (std::int64_t i = 0; i < 3; ++i) decoding.step({i});
  simt::set_failures({.launch = 9});
  const std::string message = test::error_of(ErrorCode::internal, [&] { decoding.step({3}); });
  simt::set_failures({});
  simt::take_device_fault();
  EXPECT_NE(message.find("failed in the work up to a recorded step: kernel "), std::string::npos) << message;
  EXPECT_NE(message.find("a test wanted this launch to fail"), std::string::npos) << message;
}

TEST(StepGraphs, FrequenciesThatDependOnTheLengthAreNotRecorded) {
  Decoding decoding("text-llama-dynamic");
  const std::int64_t trained = decoding.trained_length();
  ASSERT_LT(trained + 4, most_tokens);
  const std::uint64_t before = simt::n_graph_launches();
  for (std::int64_t i = trained; i < trained + 4; ++i) decoding.step({i});
  EXPECT_EQ(simt::n_graph_launches(), before);
  for (std::int64_t i = 0; i < 4; ++i) decoding.step({i});
  EXPECT_EQ(simt::n_graph_launches(), before + 3);
}

TEST(StepGraphs, TakeNoMoreThanWasSetAside) {
  constexpr std::int64_t batch = 10;  // more sizes than graphs are kept
  Decoding decoding("text-llama", batch);
  const std::size_t free = simt::free_device_memory();
  const std::uint64_t before = simt::n_graph_launches();
  for (int turn = 0; turn < 2; ++turn) {
    for (std::int64_t n = 1; n <= batch; ++n) {
      for (std::int64_t i = 0; i < 3; ++i) {
        decoding.step(std::vector<std::int64_t>(static_cast<std::size_t>(n), i));
        EXPECT_GE(simt::free_device_memory(), free);
      }
    }
  }
  EXPECT_EQ(simt::n_graph_launches() - before, 2U * 10 * 2);
}

TEST(StepGraphs, ADeviceWithoutRoomForThemDoesWithout) {
  Decoding usual("text-llama"), crowded("text-llama", 3, 512 << 10);
  const std::uint64_t before = simt::n_graph_launches();
  std::vector<float> logits;
  for (std::int64_t i = 0; i < 4; ++i) logits = crowded.step({i, i});
  EXPECT_EQ(simt::n_graph_launches(), before);
  for (std::int64_t i = 0; i < 3; ++i) usual.step({i, i});
  EXPECT_EQ(logits, usual.step({3, 3}));
}

}  // namespace
}  // namespace galago::backend
