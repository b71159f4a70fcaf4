// What a benchmark measures: a model in its arena, and the planned request in its stages.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "galago/bench.h"
#include "runtime/executor.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/planner.h"
#include "runtime/preprocessor.h"
#include "runtime/sequence.h"

namespace galago::runtime {

/// The counted runs of one stage.
struct StageRuns {
  std::string name;
  std::string unit;
  double items = 0;             ///< in one run
  std::vector<double> seconds;  ///< of each run
  std::vector<double> cpu_seconds;
  double roofline_seconds = 0;  ///< of one run
};

class Subject {
 public:
  /// Opens and plans; nothing is loaded yet. Throws as Engine does.
  explicit Subject(const BenchOptions& options);

  void measure_ceilings();
  /// Loads the model, or loads it again. The memory of the time before is given back first.
  void load();
  /// The whole request once, stage by stage.
  void run();
  /// The request once more, every operation timed.
  Profile profile();
  /// Forgets the runs up to now.
  void forget();

  const BenchOptions& options() const { return options_; }
  const Blueprint& model() const { return model_; }
  const Configuration& configuration() const { return configuration_; }
  const Plan& plan() const { return plan_; }
  const BenchMachine& machine() const { return machine_; }
  const Executor& executor() const { return *executor_; }
  const std::vector<StageRuns>& stages() const { return stages_; }
  std::int64_t image_tokens() const { return image_tokens_; }

 private:
  using Clock = std::chrono::steady_clock;
  /// The moment and the costs up to it.
  struct Mark {
    Clock::time_point time;
    double cpu_seconds;  // of the process, up to now
    backend::Ledger costs;
  };

  /// What a stage took, and the least it could.
  struct Effort {
    double seconds = 0;
    double cpu_seconds = 0;
    double roofline_seconds = 0;
  };

  Mark mark() const;
  Effort effort(const Mark& from, const Mark& to) const;
  void record(const char* name, const char* unit, double items, const Effort& effort);
  /// Adds a run of the stage from one mark to the other.
  void record(const char* name, const char* unit, double items, const Mark& from, const Mark& to);
  void see_picture();
  void prefill();
  void decode();
  /// Appends positions to the sequence, whatever they hold.
  backend::SequenceRows append(std::int64_t n_rows);

  BenchOptions options_;
  Blueprint model_;
  std::unique_ptr<backend::Backend> backend_;
  std::int64_t image_tokens_ = 0;
  Configuration configuration_;
  Rehearsal rehearsal_;
  Plan plan_;
  BenchMachine machine_;
  std::optional<Executor> executor_;
  std::vector<std::byte> jpeg_;
  std::optional<Preprocessor> preprocessor_;  // where there is a picture
  PictureLayout layout_;
  std::vector<std::int32_t> prompt_;  // as model::DecoderStep takes it
  std::optional<memory::PagePool> pool_;
  std::optional<Sequence> sequence_;
  std::int32_t next_token_ = 0;
  std::vector<StageRuns> stages_;
};

}  // namespace galago::runtime
