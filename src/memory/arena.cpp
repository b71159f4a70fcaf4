#include "memory/arena.h"

namespace galago::memory {

Arena Arena::planning() {
  return {Mode::plan,
          {Region::planning(RegionId::weights), Region::planning(RegionId::kv),
           Region::planning(RegionId::activations), Region::planning(RegionId::staging)}};
}

Arena Arena::reserved(const RegionSizes& sizes) {
  return {Mode::run,
          {Region::reserved(RegionId::weights, sizes[0]), Region::reserved(RegionId::kv, sizes[1]),
           Region::reserved(RegionId::activations, sizes[2]), Region::reserved(RegionId::staging, sizes[3])}};
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
