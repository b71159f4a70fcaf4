// A run's memory as a table for people and as JSON for programs.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "galago/report.h"
#include "runtime/report/words.h"

namespace galago {
namespace {

using runtime::mebibytes_text;

std::string region_line(const RegionUse& region, std::size_t width) {
  return fmt::format("  {:<{}} {:>16} {:>16} {:>16} {:>14}\n", region.name, width, region.planned,
                     region.high_water, region.used, mebibytes_text(region.high_water));
}

nlohmann::ordered_json regions_json(const std::vector<RegionUse>& regions) {
  auto json = nlohmann::ordered_json::object();
  for (const RegionUse& region : regions) {
    json[region.name] = {
        {"planned", region.planned}, {"high_water", region.high_water}, {"used", region.used}};
  }
  return json;
}

nlohmann::ordered_json phases_json(const MemoryReport& report) {
  auto phases = nlohmann::ordered_json::array();
  for (const PhaseUse& phase : report.phases) {
    phases.push_back({{"name", phase.name},
                      {"begin_seconds", phase.begin_seconds},
                      {"end_seconds", phase.end_seconds},
                      {"regions", regions_json(phase.regions)}});
  }
  return phases;
}

}  // namespace

std::string to_text(const MemoryReport& report) {
  std::size_t width = 12;
  for (const RegionUse& region : report.regions) width = std::max(width, region.name.size());
  std::string text =
      fmt::format("  {:<{}} {:>16} {:>16} {:>16}\n", "memory", width, "planned", "most used", "now");
  for (const RegionUse& region : report.regions) {
    if (region.planned > 0) text += region_line(region, width);
  }
  text += fmt::format("  {:<{}} {:>16} {:>16} {:>16} {:>14}\n", "process", width, report.planned_peak_bytes,
                      report.process_peak_bytes, "", mebibytes_text(report.process_peak_bytes));
  text += fmt::format("  {} of {} pages of keys and values in use", report.pages_in_use, report.pages);
  if (report.budget_bytes > 0) text += fmt::format("; budget {} bytes", report.budget_bytes);
  return text + "\n";
}

std::string to_json(const MemoryReport& report) {
  const nlohmann::ordered_json json = {{"model", report.model},
                                       {"device", report.device},
                                       {"choice", report.choice},
                                       {"budget_bytes", report.budget_bytes},
                                       {"planned_peak_bytes", report.planned_peak_bytes},
                                       {"process_peak_bytes", report.process_peak_bytes},
                                       {"pages", report.pages},
                                       {"pages_in_use", report.pages_in_use},
                                       {"regions", regions_json(report.regions)},
                                       {"phases", phases_json(report)},
                                       {"forgotten_phases", report.forgotten_phases}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace galago
