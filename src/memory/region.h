// One region of the arena: a stack of 64-byte-aligned blocks that is either counted (plan) or owned (run).
#pragma once

#include <cstddef>
#include <string_view>

#include "tensor/dtype.h"

namespace galago::memory {

/// What a region's bytes are for. The order is the order in which tables print them.
enum class RegionId { weights, kv, activations, staging };
inline constexpr std::size_t n_regions = 4;

/// "weights", "kv", "activations", "staging"
std::string_view name_of(RegionId id);
/// One line for the plan's table.
std::string_view purpose_of(RegionId id);

enum class Mode { plan, run };

/// Every block begins at a multiple of this, so that vector loads are aligned and plan and run round alike.
inline constexpr Bytes block_alignment = 64;

class Region {
 public:
  /// A region that counts: take() returns null and nothing is reserved.
  static Region planning(RegionId id);
  /// A region of exactly `capacity` bytes, reserved from the system now. Throws Error{memory} if it cannot
  /// be.
  static Region reserved(RegionId id, Bytes capacity);
  /// A region of `capacity` bytes from `base` on, which someone else owns.
  static Region lent(RegionId id, Bytes capacity, std::byte* base);

  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  ~Region();

  /// The next `bytes` bytes; null in plan mode. Running past the planned capacity is a mistake of ours:
  /// Error{internal}.
  std::byte* take(Bytes bytes);

  /// Releases everything taken since used() was `mark`.
  void release_to(Bytes mark);

  RegionId id() const { return id_; }
  Bytes used() const { return used_; }
  Bytes high_water() const { return high_water_; }
  Bytes capacity() const { return capacity_; }

 private:
  Region(RegionId id, Mode mode, Bytes capacity) : id_(id), mode_(mode), capacity_(capacity) {}

  RegionId id_;
  Mode mode_;
  Bytes capacity_ = 0;
  Bytes used_ = 0;
  Bytes high_water_ = 0;
  std::byte* base_ = nullptr;
  bool lent_ = false;
};

}  // namespace galago::memory
