#include "memory/occupancy.h"

#include <algorithm>

namespace galago::memory {
namespace {

constexpr std::size_t index(RegionId id) {
  return static_cast<std::size_t>(id);
}

}  // namespace

Stretch stretch_of(Phase phase) {
  switch (phase) {
    case Phase::load:
      return Stretch::load;
    case Phase::encode:
      return Stretch::encode;
    case Phase::prefill:
    case Phase::decode:
      break;
  }
  return Stretch::generate;
}

RegionSet lasting_with_staged_tower() {
  return RegionSet().set(index(RegionId::weights)).set(index(RegionId::pictures));
}

RegionSet lasting_by_default() {
  return lasting_with_staged_tower().set(index(RegionId::tower)).set(index(RegionId::kv));
}

RegionSizes Occupancy::regions() const {
  RegionSizes most{};
  for (const RegionSizes& phase : by_phase) {
    for (std::size_t i = 0; i < n_regions; ++i) most[i] = std::max(most[i], phase[i]);
  }
  return most;
}

RegionSizes Occupancy::regions(Stretch stretch) const {
  RegionSizes most{};
  for (std::size_t p = 0; p < n_phases; ++p) {
    if (stretch_of(static_cast<Phase>(p)) != stretch) continue;
    for (std::size_t i = 0; i < n_regions; ++i) most[i] = std::max(most[i], by_phase[p][i]);
  }
  return most;
}

Bytes Occupancy::phase_bytes(Phase phase) const {
  Bytes sum = 0;
  for (const Bytes bytes : by_phase[static_cast<std::size_t>(phase)]) sum += bytes;
  return sum;
}

Bytes Occupancy::shared_bytes() const {
  Bytes most = 0;
  for (std::size_t s = 0; s < n_stretches; ++s) {
    const RegionSizes sizes = regions(static_cast<Stretch>(s));
    Bytes sum = 0;
    for (std::size_t i = 0; i < n_regions; ++i) sum += lasting[i] ? 0 : sizes[i];
    most = std::max(most, sum);
  }
  return most;
}

Bytes Occupancy::total() const {
  Bytes sum = shared_bytes();
  const RegionSizes sizes = regions();
  for (std::size_t i = 0; i < n_regions; ++i) sum += lasting[i] ? sizes[i] : 0;
  return sum;
}

Bytes Occupancy::device_bytes() const {
  const RegionSizes sizes = regions();
  Bytes bytes = shared_bytes();
  for (std::size_t i = 0; i < n_regions; ++i) {
    if (lasting[i] && i != index(RegionId::staging)) bytes += sizes[i];
  }
  return bytes;
}

}  // namespace galago::memory
