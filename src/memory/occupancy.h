// How much of each region every phase needs, and which regions may lie in the same place because they are
// never needed at once.
#pragma once

#include <array>

#include "memory/phase.h"
#include "memory/region.h"

namespace galago::memory {

/// Bytes of each region, in the order of RegionId.
using RegionSizes = std::array<Bytes, n_regions>;

/// Stretches of phases in which memory is divided in the same way. Prefill and decode are one: they share the
/// KV pages.
enum class Stretch { load, encode, generate };
inline constexpr std::size_t n_stretches = 3;
Stretch stretch_of(Phase phase);

/// Regions whose contents outlast a stretch. The others begin empty in each and share their memory.
RegionSet lasting_by_default();

/// The same without the tower: it is loaded for the encode stretch only, and its memory goes to the KV pages.
RegionSet lasting_with_staged_tower();

struct Occupancy {
  RegionSet lasting = lasting_by_default();
  std::array<RegionSizes, n_phases> by_phase{};  ///< high-water marks

  /// The most that any phase has in each region.
  RegionSizes regions() const;
  /// The most that the phases of a stretch have in each region.
  RegionSizes regions(Stretch stretch) const;
  /// All of a phase's regions together.
  Bytes phase_bytes(Phase phase) const;
  /// Memory that the regions share which do not last.
  Bytes shared_bytes() const;
  /// What has to be reserved for all.
  Bytes total() const;
  /// What of that is on a device, where there is one: all but staging.
  Bytes device_bytes() const;
};

}  // namespace galago::memory
