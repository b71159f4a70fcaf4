// Measuring a model stage by stage, against what the machine can do at most.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "galago/engine.h"
#include "galago/options.h"

namespace galago {

struct BenchOptions {
  EngineOptions engine;  ///< a model or a known shape; the workload in it is not used
  std::optional<PictureSize> picture = PictureSize{1024, 768};  ///< a JPEG made up for it; none: text alone
  std::int64_t prompt_tokens = 0;  ///< beside the picture's; 0: 64 with a picture, 512 without
  std::int64_t new_tokens = 32;
  bool profile = false;     ///< whether operations are timed in one more run
  int warmup = 1;           ///< runs that are not counted
  int repeats = 5;          ///< runs that are
  double max_spread = 0.1;  ///< a stage that varies more was disturbed
};

/// Ceilings, measured with the kernels' own inner loops just before the stages.
struct BenchMachine {
  std::string cpu;     ///< "AMD EPYC 7R13"
  std::string device;  ///< "cpu (avx2, 2 threads)"
  int threads = 0;
  double copy_bytes_per_second = 0;  ///< read and written ones together
  double read_bytes_per_second = 0;
  double flops_per_second = 0;       ///< FP32
  double int8_flops_per_second = 0;  ///< with activations rounded to int8; 0: not done here
  double bf16_flops_per_second = 0;  ///< with activations rounded to BF16; 0: not done here

  MachineCeilings ceilings() const {
    return {flops_per_second, read_bytes_per_second, int8_flops_per_second, bf16_flops_per_second};
  }
};

/// A part of the work, over all counted runs.
struct BenchStage {
  std::string name;             ///< load, decode picture, resize, encode, project, prefill, decode, caption
  std::string unit;             ///< what is counted: byte, picture, tile, token
  double items = 0;             ///< of that unit, in one run
  double seconds = 0;           ///< median of the runs
  double spread = 0;            ///< distance of the quartiles, as a fraction of the median
  double roofline_seconds = 0;  ///< the least time at the machine's ceilings; 0: has no such bound
  bool disturbed = false;       ///< the spread is above the limit: the median means nothing
  /// Processor time of all threads (median): unlike `seconds`, it hardly sees what else the machine does.
  double cpu_seconds = 0;

  double rate() const { return seconds > 0 ? items / seconds : 0; }
  double roofline_fraction() const { return seconds > 0 ? roofline_seconds / seconds : 0; }
};

struct BenchResult {
  std::string model, family;
  std::string precision, tower_precision, kv_precision;
  std::optional<PictureSize> picture;
  std::int64_t tiles = 0;  ///< of the picture
  std::int64_t image_tokens = 0;
  std::int64_t prompt_tokens = 0;  ///< image tokens included
  std::int64_t new_tokens = 0;
  int repeats = 0;
  BenchMachine machine;
  std::vector<BenchStage> stages;
  std::vector<RegionUse> regions;  ///< planned beside measured
  Profile profile;                 ///< of one more run, whose operations were timed; empty: not asked for
  std::uint64_t planned_peak_bytes = 0;
  std::uint64_t measured_peak_bytes = 0;  ///< of the process, by the operating system's account
  std::string error;  ///< why a configuration of a sweep could not be measured; the rest is empty then

  bool disturbed() const;
};

struct BenchReport {
  std::string version;  ///< of Galago
  std::string date;     ///< UTC, "2026-11-21T12:00:00Z"
  double max_spread = 0;
  std::vector<BenchResult> results;

  bool disturbed() const;
};

/// Measures one configuration. Throws as Engine does.
BenchResult run_bench(const BenchOptions& options);

/// Tables for people.
std::string to_text(const BenchReport& report);
/// Schema: docs/bench.md.
std::string to_json(const BenchReport& report);
/// One line a stage.
std::string to_csv(const BenchReport& report);
/// A page that needs nothing else, with charts.
std::string to_html(const BenchReport& report);

/// Reads what to_json() wrote. Throws Error{input} naming `file`.
BenchReport parse_bench_report(std::string_view json, std::string_view file);

/// What changed from one report to the other beyond both spreads, stage by stage and region by region.
std::string compare_reports(const BenchReport& before, const BenchReport& after);

}  // namespace galago
