// Stages work at the same time, on steps that follow each other: they meet at points that only stages at work
// at once can reach together, and no clock decides whether they do.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "base/fail.h"
#include "runtime/executor.h"
#include "runtime/plan/planner.h"
#include "support/watched_backend.h"

namespace galago::runtime {
namespace {

constexpr std::int64_t chunk = 8;
constexpr std::int64_t n_chunks = 6;

/// How many steps each stage has begun, and a way to wait for that.
class Progress {
 public:
  explicit Progress(std::size_t n_stages) : begun_(n_stages) {}

  void begin(std::size_t stage) {
    const std::lock_guard lock(mutex_);
    ++begun_[stage];
    changed_.notify_all();
  }
  std::int64_t begun(std::size_t stage) {
    const std::lock_guard lock(mutex_);
    return begun_[stage];
  }
  /// Whether the stage has begun so many steps before the time is over.
  bool reaches(std::size_t stage, std::int64_t n, std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [&] { return begun_[stage] >= n; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::int64_t> begun_;
};

/// A text model of three layers on one CPU backend a layer, each watched by `on_layers`.
class Chain {
 public:
  using OnLayers = std::function<void(std::size_t stage)>;

  Chain(std::size_t n_stages, const OnLayers& on_layers)
      : model_(draw_blueprint(
            checkpoint::open_checkpoint(std::filesystem::path(GALAGO_GOLDENS_DIR) / "text-llama3"))) {
    for (std::size_t stage = 0; stage < n_stages; ++stage) {
      devices_.push_back(
          std::make_unique<test::WatchedBackend>(backend::make_cpu_backend(1), [=] { on_layers(stage); }));
    }
    EngineOptions options;
    options.context = chunk * n_chunks + 8;
    options.prefill_chunk = chunk;
    Configuration configuration = configure(options, model_.description, {});
    configuration.stage_layers.assign(n_stages, 1);
    configuration.stage_layers.front() += model_.description.decoder.n_layers - std::ssize(devices_);
    const backend::Backends backends(devices_);
    executor_.emplace(model_.checkpoint, model_.description, configuration, backends,
                      reserve(rehearse(model_, configuration, backends), backends));
    pages_.resize(static_cast<std::size_t>(configuration.n_pages()));
    std::iota(pages_.begin(), pages_.end(), 0);
  }

  /// Logits after a prompt of n_chunks chunks and one token more.
  std::vector<float> run() {
    for (std::int64_t i = 0; i < n_chunks; ++i) prefill(i);
    const std::int32_t id = 5;
    executor_->step(backend::Phase::decode, {&id, 1}, {0, 1, chunk * n_chunks, pages_}, 1);
    return row(executor_->logits());
  }

  std::vector<float> prefill(std::int64_t i) {
    std::vector<std::int32_t> ids;
    for (std::int64_t at = 0; at < chunk; ++at) ids.push_back(static_cast<std::int32_t>(7 * i + at));
    // What the caller gave is not there any more when later stages come to it.
    std::vector<backend::PageId> pages = pages_;
    const std::int64_t n_logits = i + 1 == n_chunks ? 1 : 0;
    executor_->step(backend::Phase::prefill, ids, {0, chunk, i * chunk, pages}, n_logits);
    ids.assign(ids.size(), 0);
    pages.assign(pages.size(), 0);
    return n_logits == 0 ? std::vector<float>{} : row(executor_->logits());
  }

  Executor& executor() { return *executor_; }

 private:
  static std::vector<float> row(const Matrix& logits) { return {logits.row(0), logits.row(0) + logits.cols}; }

  Blueprint model_;
  std::vector<std::unique_ptr<backend::Backend>> devices_;
  std::optional<Executor> executor_;
  std::vector<backend::PageId> pages_;
};

std::vector<float> logits_of_one_stage() {
  return Chain(1, [](std::size_t) {}).run();
}

TEST(Stages, WorkOnStepsThatFollowEachOtherAtOnce) {
  using namespace std::chrono_literals;
  Progress progress(3);
  bool met = true;
  Chain chain(3, [&](std::size_t stage) {
    progress.begin(stage);
    // The last stage stays in the first step until the one before it has begun the second and the first stage
    // the third.
    if (stage == 2 && progress.begun(2) == 1)
      met = progress.reaches(1, 2, 60s) && progress.reaches(0, 3, 60s);
  });
  EXPECT_EQ(chain.run(), logits_of_one_stage());
  EXPECT_TRUE(met);
}

TEST(Stages, WaitForTheRoomThatTheirRowsNeed) {
  using namespace std::chrono_literals;
  Progress progress(2);
  bool ran_ahead = false;
  Chain chain(2, [&](std::size_t stage) {
    progress.begin(stage);
    // The second stage is at the first step, the second step's rows wait, the third's have no room.
    if (stage == 1 && progress.begun(1) == 1) ran_ahead = progress.reaches(0, 4, 300ms);
  });
  EXPECT_EQ(chain.run(), logits_of_one_stage());
  EXPECT_FALSE(ran_ahead);
}

TEST(Stages, TellTheCallerWhatFailedAndGoOn) {
  for (const std::size_t failing : {1, 2}) {
    std::atomic<int> n_left = 2;  // steps until one fails
    Chain chain(3, [&](std::size_t stage) {
      if (stage == failing && --n_left == 0) fail(ErrorCode::model, "stage {} tears", failing);
    });
    try {
      chain.run();
      FAIL() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::model);
      EXPECT_EQ(std::string(error.what()), "stage " + std::to_string(failing) + " tears");
    }
    EXPECT_EQ(chain.run(), logits_of_one_stage());
  }
}

TEST(Stages, EndWithTheirExecutorWhateverIsLeftToDo) {
  Chain chain(3, [](std::size_t) {});
  chain.prefill(0);
  chain.prefill(1);
}

TEST(Stages, GoThroughTheSamePhasesAfterAFailureToo) {
  std::atomic<bool> tears = true;
  Chain chain(3, [&](std::size_t stage) {
    if (stage == 0 && tears.exchange(false)) fail(ErrorCode::model, "the first stage tears");
  });
  EXPECT_THROW(chain.run(), Error);
  chain.run();
  chain.executor().wait();
  for (std::size_t stage = 1; stage < 3; ++stage) {
    EXPECT_EQ(chain.executor().arena(stage).records().size(), chain.executor().arena().records().size());
  }
}

TEST(Stages, UseWhatWasPlannedWhenTheyWorkAtOnce) {
  Chain chain(3, [](std::size_t) {});
  chain.run();
  for (std::size_t stage = 0; stage < 3; ++stage) {
    const memory::Arena& arena = chain.executor().arena(stage);
    EXPECT_EQ(arena.high_water(), arena.planned()) << stage;
  }
}

}  // namespace
}  // namespace galago::runtime
