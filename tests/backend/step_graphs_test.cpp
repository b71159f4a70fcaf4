// Steps of decoding on the emulated device, repeated as recorded: the same numbers as launch by launch, only
// where nothing but tokens changes, in memory that was planned.
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "runtime/executor.h"
#include "runtime/model_files.h"
#include "runtime/pictures.h"
#include "runtime/planner.h"
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
  explicit Decoding(const char* golden, std::int64_t batch = 3, std::size_t free_bytes = 0)
      : files_(runtime::open_model(std::filesystem::path(GALAGO_GOLDENS_DIR) / golden)),
        backend_(open(free_bytes)),
        configuration_(configuration(batch)),
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
    std::vector<std::int32_t> ids;
    std::vector<SequenceRows> rows;
    for (std::size_t i = 0; i < positions.size(); ++i) {
      ids.push_back(static_cast<std::int32_t>((positions[i] * 7 + static_cast<std::int64_t>(i)) % 50));
      rows.push_back({static_cast<std::int64_t>(i), 1, positions[i], pages_[i]});
    }
    const Matrix logits = executor_.step(Phase::decode, ids, rows, static_cast<std::int64_t>(ids.size()));
    return {logits.data, logits.data + logits.rows * logits.cols};
  }

  runtime::Executor& executor() { return executor_; }
  std::int64_t trained_length() const { return files_.description.decoder.rope.trained_length; }

 private:
  static std::unique_ptr<Backend> open(std::size_t free_bytes) {
    const std::size_t all = simt::device_memory();
    if (free_bytes > 0) simt::set_device_memory(all - simt::free_device_memory() + free_bytes);
    auto backend = emulated::make_backend(0, CudaProducts::tensor_cores);
    simt::set_device_memory(all);
    return backend;
  }
  runtime::Configuration configuration(std::int64_t batch) const {
    EngineOptions options;
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
