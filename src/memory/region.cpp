#include "memory/region.h"

#include <algorithm>

#include "base/fail.h"

namespace galago::memory {

std::string_view name_of(RegionId id) {
  switch (id) {
    case RegionId::weights:
      return "weights";
    case RegionId::tower:
      return "tower";
    case RegionId::kv:
      return "kv";
    case RegionId::pictures:
      return "pictures";
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
      return "the decoder's";
    case RegionId::tower:
      return "weights of vision tower and projector";
    case RegionId::kv:
      return "keys and values of the context, in pages";
    case RegionId::pictures:
      return "embeddings of the picture in work";
    case RegionId::activations:
      return "what the layers hand to each other";
    case RegionId::staging:
      return "pixels on their way in, weights being converted";
  }
  return "?";
}

Region Region::planning(RegionId id, DeviceMemory* device) {
  Region region(id, Mode::plan, 0);
  region.device_ = device;
  return region;
}

Region Region::reserved(RegionId id, Bytes capacity) {
  Region region(id, Mode::run, capacity);
  region.owned_ = Reservation(capacity, name_of(id));
  region.base_ = region.owned_.bytes().data();
  return region;
}

Region Region::within(RegionId id, std::span<std::byte> memory, DeviceMemory* device) {
  Region region(id, Mode::run, memory.size());
  region.base_ = memory.data();
  region.device_ = device;
  return region;
}

std::byte* Region::take(Bytes bytes) {
  const Bytes offset = used_;
  const Bytes size = whole_blocks(bytes);
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
