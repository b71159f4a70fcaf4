// What a run used: memory by region over its phases, time by kind of operation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "galago/options.h"
#include "galago/plan.h"

namespace galago {

/// Bytes of one region: planned, most ever used, used now.
struct RegionUse {
  std::string name;
  std::uint64_t planned = 0;
  std::uint64_t high_water = 0;
  std::uint64_t used = 0;
};

/// A stretch of a run, from a change of phase to the next.
struct PhaseUse {
  std::string name;          ///< "load", "encode", "prefill", "decode"
  double begin_seconds = 0;  ///< since the memory was reserved
  double end_seconds = 0;
  std::vector<RegionUse> regions;  ///< planned for this phase, most used in it, used at its end
};

struct MemoryReport {
  std::string model;
  std::string device;
  std::string choice;                    ///< Plan::choice
  std::uint64_t budget_bytes = 0;        ///< 0: none
  std::uint64_t planned_peak_bytes = 0;  ///< Plan::peak_bytes
  std::uint64_t process_peak_bytes = 0;  ///< by the operating system's account (VmHWM)
  std::int64_t pages = 0;                ///< of keys and values
  std::int64_t pages_in_use = 0;
  std::vector<RegionUse> regions;
  std::vector<PhaseUse> phases;        ///< in order, the running one last
  std::uint64_t forgotten_phases = 0;  ///< of long runs the first phase and the last ones are kept
};

/// A table, one line a region.
std::string to_text(const MemoryReport& report);
/// Schema: docs/memory.md.
std::string to_json(const MemoryReport& report);
/// A page that needs nothing else: every region over the phases, planned and used.
std::string to_html(const MemoryReport& report);

/// What the operations of one kind took in one phase.
struct OpUse {
  std::string phase;
  std::string op;  ///< "linear", "attend_pages", ...
  std::uint64_t calls = 0;
  double seconds = 0;
  double flops = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  double roofline_seconds = 0;  ///< the least time at the machine's ceilings; 0 until they are known
};

/// A phase as a whole: its operations and what lies between them.
struct PhaseTime {
  std::string name;  ///< "pixels" (pictures to pixel values), "encode", "prefill", "decode"
  double seconds = 0;
};

struct Profile {
  std::vector<PhaseTime> phases;
  std::vector<OpUse> ops;  ///< phase by phase, the longest first
  MachineCeilings ceilings;
};

/// Ceilings of the machine that `options` run on; with several devices none. Measuring takes some tens of
/// milliseconds and 80 MiB for a moment, so it is for before or after a run, not for within a budget.
MachineCeilings measure_ceilings(const EngineOptions& options);

/// Puts the least time at the ceilings beside every operation.
void hold_against(const MachineCeilings& ceilings, Profile& profile);

/// A table, one line a phase and kind of operation.
std::string to_text(const Profile& profile);
/// Schema: docs/profile.md.
std::string to_json(const Profile& profile);

}  // namespace galago
