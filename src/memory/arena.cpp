#include "memory/arena.h"

namespace galago::memory {

Arena Arena::planning(DeviceMemory* device) {
  return {Mode::plan,
          {Region::planning(RegionId::weights), Region::planning(RegionId::kv),
           Region::planning(RegionId::activations), Region::planning(RegionId::staging)},
          device,
          nullptr};
}

Arena Arena::reserved(const RegionSizes& sizes, DeviceMemory* device) {
  Region staging = Region::reserved(RegionId::staging, sizes[3]);
  if (device == nullptr) {
    return {Mode::run,
            {Region::reserved(RegionId::weights, sizes[0]), Region::reserved(RegionId::kv, sizes[1]),
             Region::reserved(RegionId::activations, sizes[2]), std::move(staging)},
            nullptr,
            nullptr};
  }
  Block block(device->reserve(sizes[0] + sizes[1] + sizes[2]), ReleaseBlock{device});
  std::byte* const base = block.get();
  return {
      Mode::run,
      {Region::lent(RegionId::weights, sizes[0], base), Region::lent(RegionId::kv, sizes[1], base + sizes[0]),
       Region::lent(RegionId::activations, sizes[2], base + sizes[0] + sizes[1]), std::move(staging)},
      device,
      std::move(block)};
}

RegionSizes Arena::high_water() const {
  RegionSizes sizes{};
  for (std::size_t i = 0; i < n_regions; ++i) sizes[i] = regions_[i].high_water();
  return sizes;
}

Matrix Arena::matrix(RegionId id, std::int64_t rows, std::int64_t cols) {
  return {array<float>(id, rows * cols), rows, cols, cols};
}

}  // namespace galago::memory
