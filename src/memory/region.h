// One region of the arena: a stack of 64-byte-aligned blocks that is either counted (plan) or lent out (run).
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "memory/device_memory.h"
#include "memory/reservation.h"
#include "tensor/dtype.h"

namespace galago::memory {

/// What a region's bytes are for, in the order in which tables print them.
enum class RegionId { weights, tower, kv, pictures, activations, staging };
inline constexpr std::size_t n_regions = 6;
inline constexpr RegionId all_regions[n_regions] = {RegionId::weights,     RegionId::tower,
                                                    RegionId::kv,          RegionId::pictures,
                                                    RegionId::activations, RegionId::staging};

/// Some of the regions, by the number of their id.
using RegionSet = std::bitset<n_regions>;

/// "weights", "tower", "kv", "pictures", "activations", "staging"
std::string_view name_of(RegionId id);
/// One line for the plan's table.
std::string_view purpose_of(RegionId id);

enum class Mode { plan, run };

/// Every block begins at a multiple of this, so that vector loads are aligned and plan and run round alike.
inline constexpr Bytes block_alignment = 64;

class Region {
 public:
  /// A region that counts: take() returns null and nothing is reserved.
  static Region planning(RegionId id, DeviceMemory* device = nullptr);
  /// A region of exactly `capacity` bytes, reserved from the system now. Throws Error{memory} if it cannot
  /// be.
  static Region reserved(RegionId id, Bytes capacity);
  /// A region in memory that somebody else owns, aligned as blocks are, and that outlives it; `device`: whose
  /// memory that is, null: the host's.
  static Region within(RegionId id, std::span<std::byte> memory, DeviceMemory* device = nullptr);

  /// The next `bytes` bytes; null in plan mode. Running past the planned capacity is a mistake of ours:
  /// Error{internal}.
  std::byte* take(Bytes bytes);

  /// The next `count` elements of T; null in plan mode.
  template <class T>
  T* array(std::int64_t count) {
    return reinterpret_cast<T*>(take(static_cast<Bytes>(count) * sizeof(T)));
  }

  /// Releases everything taken since used() was `mark`.
  void release_to(Bytes mark);
  /// What is taken now stays taken when the region begins anew.
  void keep() { kept_ = used_; }
  Bytes kept() const { return kept_; }
  /// The high-water mark begins anew at what is used now.
  void restart_high_water() { high_water_ = used_; }

  RegionId id() const { return id_; }
  /// Whose memory it is; null: the host's.
  DeviceMemory* device() const { return device_; }
  Mode mode() const { return mode_; }
  Bytes used() const { return used_; }
  Bytes high_water() const { return high_water_; }
  Bytes capacity() const { return capacity_; }

 private:
  Region(RegionId id, Mode mode, Bytes capacity) : id_(id), mode_(mode), capacity_(capacity) {}

  RegionId id_;
  Mode mode_;
  Bytes capacity_ = 0;
  Bytes used_ = 0;
  Bytes kept_ = 0;
  Bytes high_water_ = 0;
  Reservation owned_;  // empty where the memory is somebody else's
  std::byte* base_ = nullptr;
  DeviceMemory* device_ = nullptr;
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

/// `bytes` up to the end of their last block.
constexpr Bytes whole_blocks(Bytes bytes) {
  return (bytes + block_alignment - 1) / block_alignment * block_alignment;
}

}  // namespace galago::memory
