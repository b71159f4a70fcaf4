#include "memory/history.h"

namespace galago::memory {
namespace {

// Of some hundred pictures; 120 bytes each.
constexpr std::size_t most_records = 512;

}  // namespace

History::History() : start_(std::chrono::steady_clock::now()) {
  records_.reserve(most_records);
}

double History::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void History::end_phase(PhaseRecord record) {
  record.begin_seconds = begin_seconds_;
  record.end_seconds = begin_seconds_ = seconds();
  if (records_.size() < most_records) {
    records_.push_back(record);
    return;
  }
  records_[oldest_] = record;
  oldest_ = oldest_ + 1 < most_records ? oldest_ + 1 : 1;
  ++n_forgotten_;
}

std::vector<PhaseRecord> History::records() const {
  std::vector<PhaseRecord> ordered(records_);
  if (n_forgotten_ == 0) return ordered;
  for (std::size_t i = 1; i < most_records; ++i) {
    const std::size_t from = oldest_ + i - 1;
    ordered[i] = records_[from < most_records ? from : from - most_records + 1];
  }
  return ordered;
}

}  // namespace galago::memory
