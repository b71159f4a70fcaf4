#include "memory/arena.h"

#include <algorithm>

namespace galago::memory {
namespace {

/// Regions with memory of their own.
std::array<Region, n_regions> regions_of(const RegionSizes& sizes) {
  const auto make = [&](std::size_t i) { return Region::reserved(static_cast<RegionId>(i), sizes[i]); };
  return {make(0), make(1), make(2), make(3), make(4), make(5)};
}

}  // namespace

Arena Arena::planning(RegionSet lasting) {
  const auto make = [](std::size_t i) { return Region::planning(static_cast<RegionId>(i)); };
  Arena arena(Mode::plan, {make(0), make(1), make(2), make(3), make(4), make(5)});
  arena.used_.lasting = lasting;
  return arena;
}

Arena Arena::laid_out(const Occupancy& planned) {
  RegionSizes own = planned.regions();
  for (std::size_t i = 0; i < n_regions; ++i) own[i] = planned.lasting[i] ? own[i] : 0;
  Arena arena(Mode::run, regions_of(own));
  arena.used_.lasting = planned.lasting;
  arena.planned_ = planned;
  arena.shared_ = Reservation(planned.shared_bytes(), "shared");
  arena.lay_out(Stretch::load);
  return arena;
}

Arena Arena::reserved(const RegionSizes& sizes) {
  Occupancy planned;
  planned.by_phase.fill(sizes);
  return laid_out(planned);
}

void Arena::lay_out(Stretch stretch) {
  std::span<std::byte> rest = shared_.bytes();
  const RegionSizes sizes = planned_.regions(stretch);
  for (std::size_t i = 0; i < n_regions; ++i) {
    if (used_.lasting[i]) continue;
    if (mode_ == Mode::plan) {
      regions_[i].release_to(0);
      continue;
    }
    regions_[i] = Region::within(static_cast<RegionId>(i), rest.first(sizes[i]));
    rest = rest.subspan(sizes[i]);
  }
}

bool Arena::enter(Phase phase) {
  if (phase == phase_) return false;
  used_ = occupancy();
  const bool anew = stretch_of(phase) != stretch_of(phase_);
  phase_ = phase;
  if (anew) lay_out(stretch_of(phase));
  for (Region& region : regions_) region.restart_high_water();
  return anew;
}

Occupancy Arena::occupancy() const {
  Occupancy occupancy = used_;
  RegionSizes& phase = occupancy.by_phase[static_cast<std::size_t>(phase_)];
  for (std::size_t i = 0; i < n_regions; ++i) phase[i] = std::max(phase[i], regions_[i].high_water());
  return occupancy;
}

Matrix Arena::matrix(RegionId id, std::int64_t rows, std::int64_t cols) {
  return {array<float>(id, rows * cols), rows, cols, cols};
}

}  // namespace galago::memory
