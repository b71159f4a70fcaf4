#include "runtime/load/weight_sink.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/fail.h"

namespace galago::runtime {

void WeightSink::put(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min<std::size_t>(bytes.size(), most()));
    std::memcpy(next(part.size()), part.data(), part.size());
    bytes = bytes.subspan(part.size());
  }
}

std::byte* InPlace::next(Bytes bytes) {
  return std::exchange(at_, at_ + bytes);
}

Bytes InPlace::most() const {
  return std::numeric_limits<Bytes>::max();
}

Delivery::Delivery(memory::DeviceMemory& device, memory::Region& staging) : device_(device), scope_(staging) {
  for (Half& half : halves_) {
    std::byte* const memory = staging.take(half_bytes);
    if (memory == nullptr) continue;
    half.memory = {memory, half_bytes};
    half.copied = device.make_mark();
  }
  if (staging.mode() == memory::Mode::plan) return;
  const std::unique_ptr<memory::Mark> now = device.make_mark();
  now->set_after_work();
  now->hold_copies();
}

Delivery::~Delivery() {
  memory::Mark* const last = halves_.back().copied.get();
  if (last == nullptr) return;
  try {
    last->set_after_copies();
    last->wait();
  } catch (const Error&) {  // a device that has failed copies no more
  }
}

void Delivery::turn_to(std::byte* place) {
  place_ = place;
}

std::byte* Delivery::next(Bytes bytes) {
  if (bytes > half_bytes) {
    fail(ErrorCode::internal, "{} bytes were to be copied to a device at once, at most {} can be", bytes,
         half_bytes);
  }
  if (bytes > half_bytes - filled_) {
    copy();
    halves_[filling_].copied->set_after_copies();
    filling_ = 1 - filling_;
    halves_[filling_].copied->wait();
    filled_ = copied_ = 0;
  }
  return halves_[filling_].memory.data() + std::exchange(filled_, filled_ + bytes);
}

void Delivery::copy() {
  if (filled_ == copied_) return;
  const Bytes bytes = filled_ - copied_;
  device_.copy_beside(place_, halves_[filling_].memory.subspan(copied_, bytes));
  place_ += bytes;
  copied_ = filled_;
}

}  // namespace galago::runtime
