// All memory of a loaded model: four regions, in plan mode or in run mode, and the scopes that borrow from
// them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "memory/device_memory.h"
#include "memory/region.h"
#include "tensor/view.h"

namespace galago::memory {

/// Bytes of each region, in the order of RegionId.
using RegionSizes = std::array<Bytes, n_regions>;

/// Gives a device's block back.
struct ReleaseBlock {
  DeviceMemory* device = nullptr;
  void operator()(std::byte* block) const noexcept { device->release(block); }
};

class Arena {
 public:
  /// Counts what the same code would take.
  static Arena planning(DeviceMemory* device = nullptr);
  /// Reserves each region once, at exactly these sizes. Throws Error{memory} when the system refuses. With a
  /// device, which outlives the arena, all regions but staging are one block of its memory.
  static Arena reserved(const RegionSizes& sizes, DeviceMemory* device = nullptr);

  Mode mode() const { return mode_; }
  /// Where weights, KV pages and activations are; null: in the host's memory, as staging always is.
  DeviceMemory* device() const { return device_; }
  Region& region(RegionId id) { return regions_[static_cast<std::size_t>(id)]; }
  const Region& region(RegionId id) const { return regions_[static_cast<std::size_t>(id)]; }

  /// High-water mark of each region.
  RegionSizes high_water() const;

  /// An FP32 matrix [rows, cols] from the region; its rows are contiguous.
  Matrix matrix(RegionId id, std::int64_t rows, std::int64_t cols);

  /// `count` elements of T from the region; null in plan mode.
  template <class T>
  T* array(RegionId id, std::int64_t count) {
    return reinterpret_cast<T*>(region(id).take(static_cast<Bytes>(count) * sizeof(T)));
  }

 private:
  using Block = std::unique_ptr<std::byte, ReleaseBlock>;

  Arena(Mode mode, std::array<Region, n_regions> regions, DeviceMemory* device, Block block)
      : mode_(mode), device_(device), block_(std::move(block)), regions_(std::move(regions)) {}

  Mode mode_;
  DeviceMemory* device_;
  Block block_;
  std::array<Region, n_regions> regions_;
};

/// Gives back on leaving what a region lent since the scope began. All scratch of a stage is taken inside
/// one.
class Scope {
 public:
  explicit Scope(Region& region) : region_(region), mark_(region.used()) {}
  ~Scope() { region_.release_to(mark_); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Region& region_;
  Bytes mark_;
};

}  // namespace galago::memory
