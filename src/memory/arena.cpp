#include "memory/arena.h"

#include <algorithm>
#include <utility>

namespace galago::memory {
namespace {

constexpr auto staging = static_cast<std::size_t>(RegionId::staging);

/// With a device, staging is the host's own memory and shares none with the others.
RegionSet with_staging_if(bool apart, RegionSet lasting) {
  if (apart) lasting.set(staging);
  return lasting;
}

}  // namespace

Arena Arena::planning(RegionSet lasting, DeviceMemory* device) {
  const auto make = [device](std::size_t i) {
    return Region::planning(all_regions[i], i == staging ? nullptr : device);
  };
  Arena arena(Mode::plan, {make(0), make(1), make(2), make(3), make(4), make(5)}, device);
  arena.used_.lasting = with_staging_if(device != nullptr, lasting);
  return arena;
}

Arena Arena::laid_out(const Occupancy& planned, DeviceMemory* device) {
  RegionSizes own = planned.regions();
  for (std::size_t i = 0; i < n_regions; ++i) own[i] = planned.lasting[i] ? own[i] : 0;
  if (device != nullptr) return on_device(planned, own, *device);
  const auto make = [&](std::size_t i) { return Region::reserved(all_regions[i], own[i]); };
  Arena arena(Mode::run, {make(0), make(1), make(2), make(3), make(4), make(5)}, nullptr);
  arena.reservation_ = Reservation(planned.shared_bytes(), "shared");
  arena.begin(planned, arena.reservation_.bytes());
  return arena;
}

Arena Arena::on_device(const Occupancy& planned, const RegionSizes& own, DeviceMemory& device) {
  const Bytes total = planned.device_bytes();
  Block block(device.reserve(total), ReleaseBlock{&device});
  Pinned pinned(device.reserve_pinned(own[staging]), ReleasePinned{&device});
  std::span<std::byte> rest(block.get(), total);
  const auto make = [&](std::size_t i) {
    if (i == staging) return Region::within(all_regions[i], {pinned.get(), own[i]});
    Region region = Region::within(all_regions[i], rest.first(own[i]), &device);
    rest = rest.subspan(own[i]);
    return region;
  };
  Arena arena(Mode::run, {make(0), make(1), make(2), make(3), make(4), make(5)}, &device);
  arena.block_ = std::move(block);
  arena.pinned_ = std::move(pinned);
  arena.begin(planned, rest);
  return arena;
}

Arena Arena::reserved(const RegionSizes& sizes) {
  Occupancy planned;
  planned.by_phase.fill(sizes);
  return laid_out(planned);
}

void Arena::begin(const Occupancy& planned, std::span<std::byte> shared) {
  used_.lasting = planned.lasting;
  planned_ = planned;
  shared_ = shared;
  history_.emplace();
  lay_out(Stretch::load);
}

void Arena::lay_out(Stretch stretch) {
  std::span<std::byte> rest = shared_;
  const RegionSizes sizes = planned_.regions(stretch);
  for (std::size_t i = 0; i < n_regions; ++i) {
    if (used_.lasting[i] && i != staging) continue;
    if (mode_ == Mode::plan || used_.lasting[i]) {
      regions_[i].release_to(regions_[i].kept());
      continue;
    }
    regions_[i] = Region::within(all_regions[i], rest.first(sizes[i]), device_);
    rest = rest.subspan(sizes[i]);
  }
}

bool Arena::enter(Phase phase) {
  if (phase == phase_) return false;
  used_ = occupancy();
  if (history_) history_->end_phase(record());
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

PhaseRecord Arena::record() const {
  PhaseRecord record;
  record.phase = phase_;
  for (std::size_t i = 0; i < n_regions; ++i) {
    record.high_water[i] = regions_[i].high_water();
    record.used[i] = regions_[i].used();
  }
  return record;
}

std::vector<PhaseRecord> Arena::records() const {
  if (!history_) return {};
  std::vector<PhaseRecord> records = history_->records();
  PhaseRecord running = record();
  running.begin_seconds = history_->phase_began();
  running.end_seconds = history_->seconds();
  records.push_back(running);
  return records;
}

Matrix Arena::matrix(RegionId id, std::int64_t rows, std::int64_t cols) {
  return {array<float>(id, rows * cols), rows, cols, cols};
}

}  // namespace galago::memory
