// A benchmark as tables for people and as comma-separated values for spreadsheets.
#include <fmt/format.h>

#include "galago/bench.h"
#include "runtime/bench/words.h"

namespace galago {
namespace runtime {

std::string key_of(const BenchResult& result) {
  std::string key = fmt::format("{}, weights {}", result.model, result.precision);
  if (result.tower_precision != "none") key += fmt::format(", tower {}", result.tower_precision);
  key += fmt::format(", KV {}, {} thread{}", result.kv_precision, result.machine.threads,
                     result.machine.threads == 1 ? "" : "s");
  if (result.picture) key += fmt::format(", picture {}x{}", result.picture->width, result.picture->height);
  return key + fmt::format(", prompt {}, new {}", result.prompt_tokens, result.new_tokens);
}

std::string rate_text(const BenchStage& stage) {
  if (stage.unit == "byte") return fmt::format("{:.2f} GB/s", stage.rate() / 1e9);
  if (stage.unit == "picture") return fmt::format("{:.2f} pictures/min", stage.rate() * 60);
  return fmt::format("{:.2f} {}s/s", stage.rate(), stage.unit);
}

}  // namespace runtime

namespace {

std::string stage_line(const BenchStage& stage) {
  if (stage.disturbed) {
    return fmt::format("  {:<16} disturbed: the runs differ by {:.0f} % of their median\n", stage.name,
                       stage.spread * 100);
  }
  const double per_item = stage.unit == "byte" ? stage.seconds : stage.seconds / stage.items;
  const std::string roofline =
      stage.roofline_seconds > 0 ? fmt::format("{:.0f} %", stage.roofline_fraction() * 100) : "-";
  return fmt::format("  {:<16} {:>12} {:>22} {:>8} {:>12} {:>12}\n", stage.name, runtime::time_text(per_item),
                     runtime::rate_text(stage), fmt::format("{:.1f} %", stage.spread * 100), roofline,
                     fmt::format("{:.2f}", stage.seconds > 0 ? stage.cpu_seconds / stage.seconds : 0));
}

std::string result_text(const BenchResult& result) {
  if (!result.error.empty()) return fmt::format("{}\n  {}\n", runtime::key_of(result), result.error);
  const BenchMachine& machine = result.machine;
  std::string text = fmt::format("{}\n  {}; {}: {}, copies {:.1f} GB/s\n", runtime::key_of(result),
                                 machine.cpu, machine.device, runtime::ceilings_text(machine.ceilings()),
                                 machine.copy_bytes_per_second / 1e9);
  text += fmt::format("  {} tiles, {} image tokens; {} runs\n\n", result.tiles, result.image_tokens,
                      result.repeats);
  text += fmt::format("  {:<16} {:>12} {:>22} {:>8} {:>12} {:>12}\n", "stage", "per item", "rate", "spread",
                      "of roofline", "cores busy");
  for (const BenchStage& stage : result.stages) text += stage_line(stage);
  text += fmt::format("\n  {:<16} {:>16} {:>16}\n", "memory", "planned", "measured");
  for (const RegionUse& region : result.regions) {
    text += fmt::format("  {:<16} {:>16} {:>16}\n", region.name, region.planned, region.high_water);
  }
  text += fmt::format("  {:<16} {:>16} {:>16}  {}\n", "process, peak", result.planned_peak_bytes,
                      result.measured_peak_bytes, runtime::mebibytes_text(result.measured_peak_bytes));
  if (!result.profile.ops.empty()) text.append("\n").append(to_text(result.profile));
  return text;
}

/// A field of a CSV line (RFC 4180).
std::string quoted(const std::string& field) {
  if (field.find_first_of(",\"\r\n") == field.npos) return field;
  std::string text = "\"";
  for (const char c : field) {
    if (c == '"') text += '"';
    text += c;
  }
  text += '"';
  return text;
}

}  // namespace

std::string to_text(const BenchReport& report) {
  std::string text = fmt::format("galago {}, {}\n", report.version, report.date);
  for (const BenchResult& result : report.results) {
    text += '\n';
    text += result_text(result);
  }
  return text;
}

std::string to_csv(const BenchReport& report) {
  std::string text =
      "model,precision,tower_precision,kv_precision,device,threads,width,height,prompt_tokens,new_tokens,"
      "stage,unit,"
      "items,"
      "seconds,spread,rate,roofline_fraction,disturbed,cpu_seconds,planned_peak_bytes,measured_peak_bytes\n";
  for (const BenchResult& result : report.results) {
    const PictureSize picture = result.picture.value_or(PictureSize{});
    for (const BenchStage& stage : result.stages) {
      text +=
          fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{:.9g},{:.4f},{:.6g},{:.4f},{},{:.9g},{},{}\n",
                      quoted(result.model), quoted(result.precision), quoted(result.tower_precision),
                      quoted(result.kv_precision), quoted(result.machine.device), result.machine.threads,
                      picture.width, picture.height, result.prompt_tokens, result.new_tokens, stage.name,
                      stage.unit, stage.items, stage.seconds, stage.spread, stage.rate(),
                      stage.roofline_fraction(), stage.disturbed ? "yes" : "no", stage.cpu_seconds,
                      result.planned_peak_bytes, result.measured_peak_bytes);
    }
  }
  return text;
}

}  // namespace galago
