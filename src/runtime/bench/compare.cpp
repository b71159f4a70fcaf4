// Two reports side by side: what changed by more than the runs themselves vary.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "galago/bench.h"
#include "runtime/bench/words.h"

namespace galago {
namespace {

/// Two reports agree by chance to no more than this, however calm the runs were.
constexpr double least_noise = 0.02;

template <class Named>
const Named* find_named(const std::vector<Named>& all, const std::string& name) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Named& one) { return one.name == name; });
  return found == all.end() ? nullptr : &*found;
}

std::string stage_verdict(const BenchStage& before, const BenchStage& after) {
  if (before.disturbed || after.disturbed) return "disturbed, cannot be compared";
  if (!(before.seconds > 0) || !(after.seconds > 0)) return "was not measured";
  const double ratio = before.seconds / after.seconds;
  const double noise = std::max(least_noise, before.spread + after.spread);
  const std::string speed = fmt::format("{:.3f}x the speed (noise {:.1f} %)", ratio, noise * 100);
  if (std::abs(ratio - 1) <= noise) return "same, " + speed;
  return (ratio > 1 ? "FASTER, " : "SLOWER, ") + speed;
}

std::string bytes_verdict(std::uint64_t before, std::uint64_t after) {
  if (before == after) return fmt::format("{} bytes, same", before);
  const auto difference = static_cast<std::int64_t>(after) - static_cast<std::int64_t>(before);
  return fmt::format("{} -> {} bytes ({:+})", before, after, difference);
}

std::string compare_results(const BenchResult& before, const BenchResult& after) {
  std::string text;
  for (const BenchStage& stage : after.stages) {
    const BenchStage* old = find_named(before.stages, stage.name);
    if (old == nullptr) {
      text += fmt::format("  {:<16} is new\n", stage.name);
      continue;
    }
    text += fmt::format("  {:<16} {:>12} -> {:>12}  {}\n", stage.name, runtime::time_text(old->seconds),
                        runtime::time_text(stage.seconds), stage_verdict(*old, stage));
  }
  for (const BenchStage& stage : before.stages) {
    if (find_named(after.stages, stage.name) == nullptr)
      text += fmt::format("  {:<16} is gone\n", stage.name);
  }
  for (const RegionUse& region : after.regions) {
    const RegionUse* old = find_named(before.regions, region.name);
    if (old != nullptr) {
      text += fmt::format("  {:<16} {}\n", region.name, bytes_verdict(old->high_water, region.high_water));
    }
  }
  text += fmt::format("  {:<16} {}\n", "process, peak",
                      bytes_verdict(before.measured_peak_bytes, after.measured_peak_bytes));
  return text;
}

}  // namespace

std::string compare_reports(const BenchReport& before, const BenchReport& after) {
  std::string text = fmt::format("before: galago {}, {}\nafter:  galago {}, {}\n", before.version,
                                 before.date, after.version, after.date);
  const auto find = [](const BenchReport& report, const std::string& key) {
    const auto has_key = [&key](const BenchResult& result) { return runtime::key_of(result) == key; };
    const auto found = std::find_if(report.results.begin(), report.results.end(), has_key);
    return found == report.results.end() ? nullptr : &*found;
  };
  for (const BenchResult& result : after.results) {
    const std::string key = runtime::key_of(result);
    const BenchResult* old = find(before, key);
    text += fmt::format("\n{}\n", key);
    text += old == nullptr ? "  only in the second report\n" : compare_results(*old, result);
    if (old != nullptr && old->machine.cpu != result.machine.cpu) {
      text += fmt::format("  other machine: {}, then {}\n", old->machine.cpu, result.machine.cpu);
    }
  }
  for (const BenchResult& result : before.results) {
    const std::string key = runtime::key_of(result);
    if (find(after, key) == nullptr) text += fmt::format("\n{}\n  only in the first report\n", key);
  }
  return text;
}

}  // namespace galago
