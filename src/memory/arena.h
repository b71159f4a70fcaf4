// All memory of a loaded model: its regions, in plan mode or in run mode, laid out anew where a phase needs
// others than the one before.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "memory/device_memory.h"
#include "memory/history.h"
#include "memory/occupancy.h"
#include "memory/region.h"
#include "tensor/view.h"

namespace galago::memory {

/// Gives a device's block back.
struct ReleaseBlock {
  DeviceMemory* device = nullptr;
  void operator()(std::byte* block) const noexcept { device->release(block); }
};
struct ReleasePinned {
  DeviceMemory* device = nullptr;
  void operator()(std::byte* block) const noexcept { device->release_pinned(block); }
};

class Arena {
 public:
  /// Counts what the same code would take.
  static Arena planning(RegionSet lasting = lasting_by_default(), DeviceMemory* device = nullptr);
  /// Reserves what was counted, once. Throws Error{memory} when the system refuses. With a device, which
  /// outlives the arena, all regions but staging are one block of its memory, and staging is pinned.
  static Arena laid_out(const Occupancy& planned, DeviceMemory* device = nullptr);
  /// Regions of these sizes in all phases.
  static Arena reserved(const RegionSizes& sizes);

  Mode mode() const { return mode_; }
  /// Where weights, KV pages and activations are; null: in the host's memory, as staging always is.
  DeviceMemory* device() const { return device_; }
  Region& region(RegionId id) { return regions_[static_cast<std::size_t>(id)]; }
  const Region& region(RegionId id) const { return regions_[static_cast<std::size_t>(id)]; }

  /// Begins a phase; the first is load. True where regions that do not last begin anew: what was taken from
  /// them before is gone, but for what staging keeps on a device (Region::keep).
  bool enter(Phase phase);

  /// High-water marks by phase.
  Occupancy occupancy() const;
  /// What was reserved for each region; 0 in plan mode.
  RegionSizes planned() const { return planned_.regions(); }
  /// The same for a phase.
  const RegionSizes& planned(Phase phase) const { return planned_.by_phase[static_cast<std::size_t>(phase)]; }
  /// High-water mark of each region.
  RegionSizes high_water() const { return occupancy().regions(); }
  /// The phases of a run up to now, the one in work included; empty in plan mode.
  std::vector<PhaseRecord> records() const;
  /// Phases of long runs that records() has no more.
  std::uint64_t n_forgotten_records() const { return history_ ? history_->n_forgotten() : 0; }

  /// An FP32 matrix [rows, cols] from the region; its rows are contiguous.
  Matrix matrix(RegionId id, std::int64_t rows, std::int64_t cols);

  /// `count` elements of T from the region; null in plan mode.
  template <class T>
  T* array(RegionId id, std::int64_t count) {
    return region(id).array<T>(count);
  }

 private:
  using Block = std::unique_ptr<std::byte, ReleaseBlock>;
  using Pinned = std::unique_ptr<std::byte, ReleasePinned>;

  Arena(Mode mode, std::array<Region, n_regions> regions, DeviceMemory* device)
      : mode_(mode), device_(device), regions_(std::move(regions)) {}

  static Arena on_device(const Occupancy& planned, const RegionSizes& own, DeviceMemory& device);
  void begin(const Occupancy& planned, std::span<std::byte> shared);
  /// Divides the shared memory among the regions that do not last, as the stretch needs them.
  void lay_out(Stretch stretch);
  /// The phase that runs, without its times.
  PhaseRecord record() const;

  Mode mode_;
  DeviceMemory* device_;
  Block block_;              // with a device: all regions but staging
  Pinned pinned_;            // with a device: staging
  Reservation reservation_;  // without one: what regions share that do not last
  std::array<Region, n_regions> regions_;
  Phase phase_ = Phase::load;
  Occupancy used_;     // of the phases up to the last change of phase
  Occupancy planned_;  // in run mode
  std::span<std::byte> shared_;
  std::optional<History> history_;  // in run mode
};

}  // namespace galago::memory
