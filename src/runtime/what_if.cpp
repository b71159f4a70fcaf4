// The what-if table: one model at several precisions, picture sizes and contexts, each planned exactly.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "galago/plan.h"
#include "runtime/fit.h"
#include "runtime/machine.h"
#include "runtime/pictures.h"
#include "runtime/plan_subject.h"
#include "runtime/shape_model.h"

namespace galago {
namespace {

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::automatic:
      return "stored";
    case Precision::fp32:
      return "fp32";
    case Precision::fp16:
      return "fp16";
    case Precision::bf16:
      return "bf16";
    case Precision::int8:
      return "int8";
    case Precision::int4:
      return "int4";
  }
  return "?";
}

std::string picture_text(const PictureSize& picture) {
  return picture.width == 0 ? "none" : fmt::format("{}x{}", picture.width, picture.height);
}

/// The row of one cell, planned as a request with that picture and no more text than the context holds.
WhatIfRow plan_row(const runtime::PlanSubject& subject, const EngineOptions& base, WhatIfRow row) {
  EngineOptions options = base;
  options.precision = row.precision;
  options.memory_limit = 0;
  options.context = 0;
  const std::int64_t n_images = row.picture.width > 0 ? 1 : 0;
  Workload workload{"", n_images, 1, 1, {}, {}};
  if (n_images > 0) workload.image_sizes = {row.picture};
  const std::int64_t prompt = runtime::shape_prompt_length(subject.model, workload);
  workload.max_new_tokens = std::max<std::int64_t>(row.context - prompt, 1);
  options.workload = workload;
  const runtime::Demand demand{prompt, runtime::largest_picture(subject.model, workload)};
  const runtime::Settled settled = runtime::settle(subject.model, options, demand, *subject.backend);
  row.context = settled.configuration.context;
  row.image_tokens = settled.plan.image_tokens;
  row.peak_bytes = settled.plan.peak_bytes;
  row.fits = row.peak_bytes <= subject.memory_bytes;
  Plan plan = settled.plan;
  runtime::time_phases(plan, settled.rehearsal, subject.ceilings);
  for (const PhasePlan& phase : plan.phases) {
    if (phase.name == "decode" && phase.seconds > 0) row.tokens_per_second = 1 / phase.seconds;
    if (phase.name == "encode" || phase.name == "prefill") row.first_token_seconds += phase.seconds;
  }
  return row;
}

}  // namespace

std::vector<WhatIfRow> plan_what_if(const EngineOptions& options, const WhatIfAxes& axes) {
  const runtime::PlanSubject subject(options);
  std::vector<PictureSize> pictures = axes.pictures;
  if (!subject.model.description.tower) pictures = {{0, 0}};
  std::vector<WhatIfRow> rows;
  for (const Precision precision : axes.precisions) {
    for (const PictureSize& picture : pictures) {
      for (const std::int64_t context : axes.contexts) {
        if (context > subject.model.description.decoder.max_context) continue;
        WhatIfRow row;
        row.precision = precision;
        row.picture = picture;
        row.context = context;
        rows.push_back(plan_row(subject, options, row));
      }
    }
  }
  return rows;
}

std::string to_text(const std::vector<WhatIfRow>& rows) {
  std::string text = fmt::format("  {:<9} {:>10} {:>8} {:>9} {:>12} {:>5} {:>12} {:>12}\n", "precision",
                                 "picture", "tokens", "context", "peak", "fits", "first token", "tokens/s");
  for (const WhatIfRow& row : rows) {
    text += fmt::format("  {:<9} {:>10} {:>8} {:>9} {:>8.2f} GiB {:>5} {:>10.3f} s {:>12.1f}\n",
                        name_of(row.precision), picture_text(row.picture), row.image_tokens, row.context,
                        static_cast<double>(row.peak_bytes) / 0x1p30, row.fits ? "yes" : "no",
                        row.first_token_seconds, row.tokens_per_second);
  }
  return text;
}

std::string to_json(const std::vector<WhatIfRow>& rows) {
  auto table = nlohmann::ordered_json::array();
  for (const WhatIfRow& row : rows) {
    table.push_back({{"precision", name_of(row.precision)},
                     {"picture", picture_text(row.picture)},
                     {"image_tokens", row.image_tokens},
                     {"context", row.context},
                     {"peak_bytes", row.peak_bytes},
                     {"fits", row.fits},
                     {"first_token_seconds", row.first_token_seconds},
                     {"tokens_per_second", row.tokens_per_second}});
  }
  return table.dump(2) + "\n";
}

}  // namespace galago
