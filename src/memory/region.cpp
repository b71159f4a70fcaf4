#include "memory/region.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "base/fail.h"

namespace galago::memory {
namespace {

constexpr Bytes round_up(Bytes bytes) {
  return (bytes + block_alignment - 1) / block_alignment * block_alignment;
}

}  // namespace

std::string_view name_of(RegionId id) {
  switch (id) {
    case RegionId::weights:
      return "weights";
    case RegionId::kv:
      return "kv";
    case RegionId::activations:
      return "activations";
    case RegionId::staging:
      return "staging";
  }
  return "?";
}

std::string_view purpose_of(RegionId id) {
  switch (id) {
    case RegionId::weights:
      return "vision tower, projector and decoder";
    case RegionId::kv:
      return "keys and values of the context, in pages";
    case RegionId::activations:
      return "what the layers hand to each other";
    case RegionId::staging:
      return "pixels on their way in, weights being converted";
  }
  return "?";
}

Region Region::planning(RegionId id) {
  return {id, Mode::plan, 0};
}

Region Region::reserved(RegionId id, Bytes capacity) {
  Region region(id, Mode::run, capacity);
  if (capacity == 0) return region;
  void* base = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    fail(ErrorCode::memory,
         "the system refused {} bytes for the {} region; free memory or ask for less (--memory, --context)",
         capacity, name_of(id));
  }
  region.base_ = static_cast<std::byte*>(base);
  return region;
}

Region Region::lent(RegionId id, Bytes capacity, std::byte* base) {
  Region region(id, Mode::run, capacity);
  region.base_ = base;
  region.lent_ = true;
  return region;
}

Region::Region(Region&& other) noexcept
    : id_(other.id_),
      mode_(other.mode_),
      capacity_(other.capacity_),
      used_(other.used_),
      high_water_(other.high_water_),
      base_(std::exchange(other.base_, nullptr)),
      lent_(other.lent_) {}

Region& Region::operator=(Region&& other) noexcept {
  if (this != &other) {
    if (base_ != nullptr && !lent_) munmap(base_, capacity_);
    id_ = other.id_;
    mode_ = other.mode_;
    capacity_ = other.capacity_;
    used_ = other.used_;
    high_water_ = other.high_water_;
    base_ = std::exchange(other.base_, nullptr);
    lent_ = other.lent_;
  }
  return *this;
}

Region::~Region() {
  if (base_ != nullptr && !lent_) munmap(base_, capacity_);
}

std::byte* Region::take(Bytes bytes) {
  const Bytes offset = used_;
  const Bytes size = round_up(bytes);
  if (mode_ == Mode::run && size > capacity_ - offset) {
    fail(ErrorCode::internal,
         "the {} region holds {} bytes and {} more were asked for after {}: plan and run differ",
         name_of(id_), capacity_, size, offset);
  }
  used_ = offset + size;
  high_water_ = std::max(high_water_, used_);
  return mode_ == Mode::run ? base_ + offset : nullptr;
}

void Region::release_to(Bytes mark) {
  used_ = mark;
}

}  // namespace galago::memory
