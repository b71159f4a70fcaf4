#include "reports.h"

#include <filesystem>

#include <fmt/format.h>

#include "galago/report.h"
#include "output_file.h"
#include "size.h"

namespace galago::cli {
namespace {

/// JSON to the file itself, the page beside it; a name that ends in .html is the page's, and JSON is beside.
void write_memory_trace(const MemoryReport& report, const std::string& file) {
  const std::filesystem::path path(file);
  const bool is_page = path.extension() == ".html";
  std::filesystem::path beside = path;
  beside.replace_extension(is_page ? ".json" : ".html");
  replace_file(is_page ? beside.string() : file, to_json(report));
  replace_file(is_page ? file : beside.string(), to_html(report));
}

}  // namespace

void add_report_options(CLI::App& command, ReportOptions& options) {
  command.add_flag(
      "--memory-report", options.memory,
      "Memory by part on stderr: in use after every request, and planned beside used at the end");
  command
      .add_option("--memory-trace", options.memory_trace,
                  "Write memory by part over time as JSON, and a page with its chart beside it (.html)")
      ->type_name("FILE");
  command.add_flag("--profile", options.profile,
                   "Time every kind of operation and hold it against the machine's ceilings, on stderr");
  command.add_option("--profile-json", options.profile_json, "The same, written as JSON")->type_name("FILE");
}

void begin_reports(Engine& engine, const ReportOptions& options) {
  if (options.profile || !options.profile_json.empty()) engine.start_profile();
}

void tell_live_memory(const Engine& engine, const ReportOptions& options) {
  if (!options.memory) return;
  const MemoryReport report = engine.memory_report();
  std::string line = "memory now:";
  for (const RegionUse& region : report.regions) {
    if (region.planned > 0) line += fmt::format(" {} {},", region.name, size_text(region.used));
  }
  fmt::print(stderr, "{} {} of {} pages; process at most {} of {}\n", line, report.pages_in_use, report.pages,
             size_text(report.process_peak_bytes), size_text(report.planned_peak_bytes));
}

void finish_reports(std::optional<Engine>& engine, const EngineOptions& engine_options,
                    const ReportOptions& options) {
  const MemoryReport memory = engine->memory_report();
  if (options.memory) fmt::print(stderr, "{}", to_text(memory));
  if (!options.memory_trace.empty()) write_memory_trace(memory, options.memory_trace);
  if (!options.profile && options.profile_json.empty()) return;
  Profile profile = engine->profile();
  engine.reset();
  hold_against(measure_ceilings(engine_options), profile);
  if (options.profile) fmt::print(stderr, "{}", to_text(profile));
  if (!options.profile_json.empty()) replace_file(options.profile_json, to_json(profile));
}

}  // namespace galago::cli
