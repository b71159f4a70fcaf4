#include "runtime/report/collect.h"

#include <algorithm>

#include "runtime/report/words.h"

namespace galago::runtime {

using memory::RegionId;

namespace {

std::string region_name(const Executor& executor, std::size_t stage, RegionId id) {
  return region_text(name_of(id), executor.stage(stage).backend().name(), executor.n_stages());
}

}  // namespace

std::vector<RegionUse> region_uses(const Executor& executor) {
  std::vector<RegionUse> uses;
  for (std::size_t stage = 0; stage < executor.n_stages(); ++stage) {
    const memory::Arena& arena = executor.arena(stage);
    const memory::RegionSizes planned = arena.planned();
    const memory::RegionSizes high_water = arena.high_water();
    for (const RegionId id : memory::all_regions) {
      const auto at = static_cast<std::size_t>(id);
      uses.push_back(
          {region_name(executor, stage, id), planned[at], high_water[at], arena.region(id).used()});
    }
  }
  return uses;
}

std::vector<PhaseUse> phase_uses(const Executor& executor) {
  std::vector<PhaseUse> phases;
  for (std::size_t stage = 0; stage < executor.n_stages(); ++stage) {
    const memory::Arena& arena = executor.arena(stage);
    const std::vector<memory::PhaseRecord> records = arena.records();
    // All stages go from phase to phase together; the first one's times stand for all.
    for (std::size_t i = 0; i < records.size(); ++i) {
      const memory::PhaseRecord& record = records[i];
      if (stage == 0) {
        phases.push_back({std::string(name_of(record.phase)), record.begin_seconds, record.end_seconds, {}});
      }
      const memory::RegionSizes& planned = arena.planned(record.phase);
      for (const RegionId id : memory::all_regions) {
        const auto at = static_cast<std::size_t>(id);
        phases[i].regions.push_back(
            {region_name(executor, stage, id), planned[at], record.high_water[at], record.used[at]});
      }
    }
  }
  return phases;
}

std::vector<OpUse> op_uses(const backend::OpTimes& times) {
  std::vector<OpUse> uses;
  for (std::size_t phase = 0; phase < backend::n_phases; ++phase) {
    const auto first = static_cast<std::ptrdiff_t>(uses.size());
    for (std::size_t op = 0; op < backend::n_ops; ++op) {
      const backend::OpTime& time = times[phase][op];
      if (time.calls == 0) continue;
      uses.push_back({std::string(name_of(static_cast<backend::Phase>(phase))),
                      std::string(name_of(static_cast<backend::Op>(op))), time.calls, time.seconds,
                      time.cost.flops, time.cost.bytes_read, time.cost.bytes_written, 0});
    }
    std::sort(uses.begin() + first, uses.end(),
              [](const OpUse& a, const OpUse& b) { return a.seconds > b.seconds; });
  }
  return uses;
}

}  // namespace galago::runtime
