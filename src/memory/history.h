// What a run took of each region in its phases, one after the other, for reports.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "memory/occupancy.h"

namespace galago::memory {

/// From a change of phase to the next.
struct PhaseRecord {
  Phase phase = Phase::load;
  double begin_seconds = 0;  ///< since the memory was reserved
  double end_seconds = 0;
  RegionSizes high_water{};  ///< the most that was used of each region
  RegionSizes used{};        ///< at the end
};

/// Its own memory is bounded and taken at once, since phases change while a request is answered: the first
/// record (loading) and the latest ones are kept.
class History {
 public:
  History();

  /// The phase that ends now, and what it had; the next begins.
  void end_phase(PhaseRecord record);
  /// In order, without the phase that still runs.
  std::vector<PhaseRecord> records() const;
  /// Records that had to make room for later ones.
  std::uint64_t n_forgotten() const { return n_forgotten_; }
  double seconds() const;
  double phase_began() const { return begin_seconds_; }

 private:
  std::vector<PhaseRecord> records_;  // full: a ring behind the first one
  std::size_t oldest_ = 1;
  std::uint64_t n_forgotten_ = 0;
  double begin_seconds_ = 0;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace galago::memory
