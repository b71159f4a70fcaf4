// Which requests are answered when: as many at once as there are pages for, their steps of decoding joined;
// where the tower is staged, in rounds that each encode a number of pictures first.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "galago/engine.h"
#include "runtime/generation.h"

namespace galago::runtime {

class Scheduler {
 public:
  /// `generation` outlives the object. At most `batch` requests are in work at once.
  Scheduler(Generation& generation, std::int64_t batch);

  /// One request. Throws what becomes of it.
  Completion run(const Request& request, const OnText& on_text);
  /// All that `next` supplies, as Engine::generate_all() says.
  void run_all(const NextTask& next, const OnOutcome& on_outcome);

 private:
  struct Work {
    std::size_t task = 0;
    std::unique_ptr<Job> job;  // null: there is no more
  };
  using NextWork = std::function<Work()>;

  void run_works(const NextWork& next, const OnOutcome& on_outcome);
  /// The next task that can be prepared; of the others their outcome is told.
  Work prepare_next(const NextTask& next, const OnOutcome& on_outcome);
  Work held_or(const NextWork& next);
  /// What can be admitted next. Staged towers: of the round, a new one where nothing is left of it.
  Work next_ready(const NextWork& next, const OnOutcome& on_outcome);
  /// Encodes pictures as long as there is room for their embeddings.
  void fill_round(const NextWork& next, const OnOutcome& on_outcome);
  /// Admits and prefills until the batch is full or pages run short.
  void admit(const NextWork& next, const OnOutcome& on_outcome);
  void begin(Work work, const OnOutcome& on_outcome);
  /// One token more of all that are in work.
  void step(const OnOutcome& on_outcome);
  /// Whether the part of the work could be done; an Error{input} is its task's outcome.
  template <class Part>
  bool attempt(const Work& work, const OnOutcome& on_outcome, Part&& part);
  void complete(const Work& work, const OnOutcome& on_outcome);
  void tell(const Outcome& outcome, const OnOutcome& on_outcome);
  /// Gives up all that is in work.
  void drop_all();

  Generation& generation_;
  std::size_t batch_;
  std::size_t n_tasks_ = 0;
  bool stopping_ = false;
  bool exhausted_ = false;
  std::deque<Work> round_;  // staged towers: pictures encoded, not yet admitted
  Work held_;               // waits for pages, or for the next round
  std::vector<Work> running_;
  std::vector<Job*> joined_;  // of the step in work
};

}  // namespace galago::runtime
