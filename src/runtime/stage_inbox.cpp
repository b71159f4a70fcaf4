#include "runtime/stage_inbox.h"

#include <span>
#include <utility>

namespace galago::runtime {

StageInbox::StageInbox(const Configuration& configuration) {
  for (Copy* copy : {&left_, &in_work_}) {
    copy->ids.reserve(static_cast<std::size_t>(configuration.most_rows()));
    copy->sequences.reserve(static_cast<std::size_t>(configuration.batch));
    copy->pages.reserve(static_cast<std::size_t>(configuration.batch * configuration.request_pages()));
  }
}

void StageInbox::Copy::assign(const StageTask& from) {
  task = from;
  ids.assign(from.step.rows.ids.begin(), from.step.rows.ids.end());
  sequences.assign(from.step.rows.sequences.begin(), from.step.rows.sequences.end());
  pages.clear();
  for (const backend::SequenceRows& rows : sequences) {
    pages.insert(pages.end(), rows.pages.begin(), rows.pages.end());
  }
  std::span<const backend::PageId> rest = pages;
  for (backend::SequenceRows& rows : sequences) {
    rows.pages = rest.first(rows.pages.size());
    rest = rest.subspan(rows.pages.size());
  }
  task.step.rows.ids = ids;
  task.step.rows.sequences = sequences;
}

void StageInbox::wait_until_free() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !has_rows_ || is_closed_; });
}

void StageInbox::leave(const StageTask& task) {
  const std::lock_guard lock(mutex_);
  left_.assign(task);
  has_left_ = has_rows_ = true;
  changed_.notify_all();
}

void StageInbox::wait_until_idle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !has_left_ && !is_working_; });
}

bool StageInbox::has_failed() const {
  const std::lock_guard lock(mutex_);
  return failure_ != nullptr;
}

std::exception_ptr StageInbox::take_failure() {
  const std::lock_guard lock(mutex_);
  return std::exchange(failure_, nullptr);
}

void StageInbox::close() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  changed_.notify_all();
}

const StageTask* StageInbox::begin() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return has_left_ || is_closed_; });
  if (is_closed_) return nullptr;
  std::swap(left_, in_work_);
  has_left_ = false;
  is_working_ = rows_begun_ = true;
  return &in_work_.task;
}

void StageInbox::free_rows() {
  if (std::exchange(rows_begun_, false)) has_rows_ = false;
  changed_.notify_all();
}

void StageInbox::free() {
  const std::lock_guard lock(mutex_);
  free_rows();
}

void StageInbox::end(std::exception_ptr failure) {
  const std::lock_guard lock(mutex_);
  is_working_ = false;
  if (failure && !failure_) failure_ = std::move(failure);
  free_rows();
}

}  // namespace galago::runtime
