// What a stage gets from the one before it, which may work in another thread: one task at a time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <vector>

#include "model/decoder.h"
#include "runtime/plan/configuration.h"

namespace galago::runtime {

/// A step's rows to be computed or, where there are none, a phase to be begun.
struct StageTask {
  backend::Phase phase;
  model::DecoderStep step{};
  std::int64_t n_logits = 0;  ///< of the step's last rows
};

/// There is room for the rows of one step beside those that the stage computes: the stage before goes on with
/// the next step as soon as it has left its rows here, and waits only where it is two steps ahead.
class StageInbox {
 public:
  /// Takes what tasks need now, so that none allocates.
  explicit StageInbox(const Configuration& configuration);

  // For the stage before.

  /// Returns when rows and a task can be left; they cannot be taken back.
  void wait_until_free();
  /// Leaves a copy of the task. Its rows are there.
  void leave(const StageTask& task);
  /// Returns when nothing is left to do.
  void wait_until_idle();
  bool has_failed() const;
  /// What the first task that failed did so with, once.
  std::exception_ptr take_failure();
  /// No more tasks will come.
  void close();

  // For the stage itself.

  /// Waits for a task, which stays as it is until end(). Null: no more will come.
  const StageTask* begin();
  /// The task's rows have been taken from where they were left.
  void free();
  /// The task is done, or has failed.
  void end(std::exception_ptr failure);

 private:
  void free_rows();

  /// A task with all that it refers to, but the rows.
  struct Copy {
    StageTask task;
    std::vector<std::int32_t> ids;
    std::vector<backend::SequenceRows> sequences;
    std::vector<backend::PageId> pages;  // of all sequences, one after the other

    void assign(const StageTask& from);
  };

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Copy left_, in_work_;
  bool has_left_ = false;    // a task that was not begun
  bool has_rows_ = false;    // of a task that was left or begun: there is no room for others
  bool rows_begun_ = false;  // those are the rows of the task that was begun
  bool is_working_ = false;  // on a task that was begun
  bool is_closed_ = false;
  std::exception_ptr failure_;
};

}  // namespace galago::runtime
