#include "bench_sweep.h"

#include <chrono>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "galago/error.h"

namespace galago::cli {
namespace {

/// `options` once for each value, or as they are where there is none.
template <class T, class Set>
std::vector<BenchOptions> for_each_value(const std::vector<BenchOptions>& options,
                                         const std::vector<T>& values, Set&& set) {
  if (values.empty()) return options;
  std::vector<BenchOptions> result;
  for (const BenchOptions& one : options) {
    for (const T& value : values) {
      result.push_back(one);
      set(result.back(), value);
    }
  }
  return result;
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
}

std::string model_name(const EngineOptions& options) {
  if (options.shape.empty()) return options.model.string();
  std::string name = "shape ";
  name += options.shape;
  return name;
}

}  // namespace

std::vector<BenchOptions> combinations(const BenchSweep& sweep) {
  std::vector<BenchOptions> all{sweep.base};
  if (sweep.text_only) all.front().picture.reset();
  all = for_each_value(all, sweep.precisions,
                       [](BenchOptions& options, Precision value) { options.engine.precision = value; });
  all = for_each_value(all, sweep.threads,
                       [](BenchOptions& options, int value) { options.engine.threads = value; });
  if (!sweep.text_only) {
    all = for_each_value(all, sweep.pictures,
                         [](BenchOptions& options, const PictureSize& value) { options.picture = value; });
  }
  return for_each_value(all, sweep.prompt_tokens,
                        [](BenchOptions& options, std::int64_t value) { options.prompt_tokens = value; });
}

BenchReport run_sweep(const BenchSweep& sweep) {
  BenchReport report{GALAGO_VERSION, utc_now(), sweep.base.max_spread, {}};
  const std::vector<BenchOptions> all = combinations(sweep);
  for (std::size_t i = 0; i < all.size(); ++i) {
    spdlog::info("configuration {} of {}", i + 1, all.size());
    try {
      report.results.push_back(run_bench(all[i]));
    } catch (const Error& error) {
      if (all.size() == 1 || error.code() != ErrorCode::memory) throw;
      BenchResult result;
      result.model = model_name(all[i].engine);
      result.picture = all[i].picture;
      result.prompt_tokens = all[i].prompt_tokens;
      result.new_tokens = all[i].new_tokens;
      result.machine.threads = all[i].engine.threads;
      result.error = error.what();
      report.results.push_back(result);
    }
  }
  return report;
}

}  // namespace galago::cli
