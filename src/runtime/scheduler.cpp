#include "runtime/scheduler.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/fail.h"

namespace galago::runtime {

Scheduler::Scheduler(Generation& generation, std::int64_t batch)
    : generation_(generation), batch_(static_cast<std::size_t>(batch)) {
  running_.reserve(batch_);
  joined_.reserve(batch_);
}

Completion Scheduler::run(const Request& request, const OnText& on_text) {
  const std::shared_ptr<const Request> borrowed(std::shared_ptr<const void>(), &request);
  std::unique_ptr<Job> job = generation_.prepare(borrowed, on_text);
  Outcome outcome;
  run_works(
      [&] {
        return Work{0, std::move(job)};
      },
      [&](const Outcome& told) {
        outcome = told;
        return true;
      });
  if (outcome.error) throw Error(*outcome.error);
  return std::move(*outcome.completion);
}

void Scheduler::run_all(const NextTask& next, const OnOutcome& on_outcome) {
  n_tasks_ = 0;
  run_works([&] { return prepare_next(next, on_outcome); }, on_outcome);
}

void Scheduler::run_works(const NextWork& next, const OnOutcome& on_outcome) {
  stopping_ = exhausted_ = false;
  try {
    do {
      admit(next, on_outcome);
      step(on_outcome);
    } while (!running_.empty() || held_.job || !round_.empty() || (!exhausted_ && !stopping_));
  } catch (...) {
    drop_all();
    throw;
  }
}

Scheduler::Work Scheduler::prepare_next(const NextTask& next, const OnOutcome& on_outcome) {
  while (!stopping_) {
    std::optional<Task> task = next();
    if (!task) break;
    Work work{n_tasks_++, nullptr};
    const bool prepared = attempt(work, on_outcome, [&] {
      work.job =
          generation_.prepare(std::make_shared<const Request>(std::move(task->request)), task->on_text);
    });
    if (prepared) return work;
  }
  return {};
}

Scheduler::Work Scheduler::held_or(const NextWork& next) {
  if (held_.job) return std::exchange(held_, {});
  if (exhausted_) return {};
  Work work = next();
  exhausted_ = work.job == nullptr;
  return work;
}

void Scheduler::fill_round(const NextWork& next, const OnOutcome& on_outcome) {
  generation_.begin_round();
  while (!stopping_) {
    Work work = held_or(next);
    if (!work.job) return;
    const bool sees = generation_.needs_sight(*work.job);
    if (sees && !generation_.has_room_for(*work.job)) {
      held_ = std::move(work);
      return;
    }
    if (sees && !attempt(work, on_outcome, [&] { generation_.see(*work.job); })) continue;
    work.job->forget_pictures();
    round_.push_back(std::move(work));
    // Answers from cached pages come first: the tower will take the memory of those.
    const bool from_cache = !sees && !round_.back().job->prompt.pictures.empty();
    if (from_cache || (!generation_.has_seen() && round_.size() >= batch_)) return;
  }
}

Scheduler::Work Scheduler::next_ready(const NextWork& next, const OnOutcome& on_outcome) {
  if (!generation_.tower_staged()) return held_or(next);
  if (round_.empty() && running_.empty()) fill_round(next, on_outcome);
  if (round_.empty()) return {};
  Work work = std::move(round_.front());
  round_.pop_front();
  return work;
}

void Scheduler::admit(const NextWork& next, const OnOutcome& on_outcome) {
  while (running_.size() < batch_ && !stopping_) {
    Work work = next_ready(next, on_outcome);
    if (!work.job) break;
    if (generation_.admit(*work.job)) {
      begin(std::move(work), on_outcome);
      continue;
    }
    if (running_.empty()) fail(ErrorCode::internal, "no request is in work, and the pages are not free");
    if (generation_.tower_staged()) {
      round_.push_front(std::move(work));
    } else {
      held_ = std::move(work);
    }
    break;
  }
  if (!stopping_) return;
  held_ = {};
  round_.clear();
}

void Scheduler::begin(Work work, const OnOutcome& on_outcome) {
  running_.push_back(std::move(work));
  Job& job = *running_.back().job;
  const bool prefilled = attempt(running_.back(), on_outcome, [&] { job.take(generation_.prefill(job)); });
  job.forget_pictures();
  if (prefilled && !job.ended()) return;
  const Work done = std::move(running_.back());
  running_.pop_back();
  if (prefilled) {
    complete(done, on_outcome);
  } else {
    generation_.drop(job);
  }
}

void Scheduler::step(const OnOutcome& on_outcome) {
  for (std::size_t first = 0; first < running_.size(); ++first) {
    const auto& adapter = running_[first].job->adapter;
    const auto goes_through = [&](const Work& work) { return work.job->adapter == adapter; };
    const auto before = running_.begin() + static_cast<std::ptrdiff_t>(first);
    if (std::any_of(running_.begin(), before, goes_through)) continue;
    joined_.clear();
    for (const Work& work : running_) {
      if (goes_through(work)) joined_.push_back(work.job.get());
    }
    double seconds = 0;
    {
      const Stopwatch stopwatch(seconds);
      generation_.decode(joined_, [](Job& job, std::int32_t token) { job.take(token); });
    }
    for (Job* job : joined_) job->timing.decode_seconds += seconds;
  }
  for (std::size_t i = 0; i < running_.size();) {
    if (!running_[i].job->ended()) {
      ++i;
      continue;
    }
    const Work done = std::move(running_[i]);
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    complete(done, on_outcome);
  }
}

template <class Part>
bool Scheduler::attempt(const Work& work, const OnOutcome& on_outcome, Part&& part) {
  try {
    part();
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::input) throw;
    tell({work.task, std::nullopt, error}, on_outcome);
    return false;
  }
}

void Scheduler::complete(const Work& work, const OnOutcome& on_outcome) {
  tell({work.task, generation_.finish(*work.job), std::nullopt}, on_outcome);
}

void Scheduler::tell(const Outcome& outcome, const OnOutcome& on_outcome) {
  if (!on_outcome(outcome)) stopping_ = true;
}

void Scheduler::drop_all() {
  for (const Work& work : running_) generation_.drop(*work.job);
  running_.clear();
  round_.clear();
  held_ = {};
}

}  // namespace galago::runtime
