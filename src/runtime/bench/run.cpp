// One configuration from its machine's ceilings to its result.
#include <algorithm>

#include "galago/bench.h"
#include "runtime/bench/samples.h"
#include "runtime/bench/subject.h"
#include "runtime/plan/machine.h"
#include "runtime/report/collect.h"

namespace galago {
namespace {

/// Loading takes long where models are large; a few runs tell its spread.
constexpr int max_loads = 3;

BenchStage summarize_stage(const runtime::StageRuns& runs, double max_spread) {
  const runtime::Summary summary = runtime::summarize(runs.seconds);
  return {runs.name,
          runs.unit,
          runs.items,
          summary.median,
          summary.spread,
          runs.roofline_seconds,
          summary.spread > max_spread,
          runtime::summarize(runs.cpu_seconds).median};
}

void describe_subject(const runtime::Subject& subject, BenchResult& result) {
  const Plan& plan = subject.plan();
  result.model = plan.model;
  result.family = plan.family;
  result.precision = plan.precision;
  result.tower_precision = plan.tower_precision;
  result.kv_precision = plan.kv_precision;
  result.picture = subject.options().picture;
  result.tiles = result.picture ? subject.configuration().picture.n_tiles : 0;
  result.image_tokens = subject.image_tokens();
  result.prompt_tokens = subject.image_tokens() + subject.options().prompt_tokens;
  result.new_tokens = subject.options().new_tokens;
  result.repeats = subject.options().repeats;
  result.machine = subject.machine();
  result.planned_peak_bytes = plan.peak_bytes;
}

void describe_memory(const runtime::Executor& executor, BenchResult& result) {
  result.regions = runtime::region_uses(executor);
  result.measured_peak_bytes = runtime::process_memory().peak_resident_bytes;
}

}  // namespace

bool BenchResult::disturbed() const {
  return std::any_of(stages.begin(), stages.end(), [](const BenchStage& stage) { return stage.disturbed; });
}

bool BenchReport::disturbed() const {
  return std::any_of(results.begin(), results.end(),
                     [](const BenchResult& result) { return result.disturbed(); });
}

BenchResult run_bench(const BenchOptions& options) {
  runtime::Subject subject(options);
  subject.measure_ceilings();
  runtime::reset_peak_resident();
  const int n_loads = options.engine.shape.empty() ? std::min(options.repeats, max_loads) : 1;
  subject.load();
  if (options.engine.shape.empty() && options.warmup > 0) {
    subject.forget();
    for (int i = 0; i < n_loads; ++i) subject.load();
  }
  const std::vector<runtime::StageRuns> loads = subject.stages();
  for (int i = 0; i < options.warmup; ++i) subject.run();
  subject.forget();
  for (int i = 0; i < options.repeats; ++i) subject.run();

  BenchResult result;
  describe_subject(subject, result);
  describe_memory(subject.executor(), result);
  for (const runtime::StageRuns& runs : loads)
    result.stages.push_back(summarize_stage(runs, options.max_spread));
  for (const runtime::StageRuns& runs : subject.stages()) {
    result.stages.push_back(summarize_stage(runs, options.max_spread));
  }
  if (options.profile) result.profile = subject.profile();
  return result;
}

}  // namespace galago
