// The what-if table: one model at several precisions, picture sizes and contexts, each planned exactly.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "galago/plan.h"
#include "runtime/fit.h"
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

/// Tokens that keys and values have room for with a fraction of what everything else leaves.
std::int64_t kv_tokens(const Plan& plan, Bytes memory_bytes, double fraction) {
  Bytes kv = 0;
  for (const RegionPlan& region : plan.regions) kv += region.name.ends_with("kv") ? region.bytes : 0;
  const double allowed = runtime::kv_allowance(fraction, memory_bytes, {plan.peak_bytes, kv});
  const double page_bytes = static_cast<double>(kv) / static_cast<double>(plan.n_pages);
  return static_cast<std::int64_t>(allowed / page_bytes) * plan.page_tokens;
}

/// The row of one cell, planned as a request with that picture and no more text than the context holds.
WhatIfRow plan_row(const runtime::PlanSubject& subject, const EngineOptions& base, const WhatIfAxes& axes,
                   WhatIfRow row) {
  EngineOptions options = base;
  options.precision = row.precision;
  options.context = 0;
  const std::int64_t n_images = row.picture.width > 0 ? 1 : 0;
  Workload workload{"", n_images, 1, 1, {}, {}};
  if (n_images > 0) workload.image_sizes = {row.picture};
  const std::int64_t prompt = runtime::shape_prompt_length(subject.model, workload);
  workload.max_new_tokens = std::max<std::int64_t>(row.context - prompt, 1);
  options.workload = workload;
  const Plan plan = subject.plan(options);
  row.context = plan.context;
  row.image_tokens = plan.image_tokens;
  row.peak_bytes = plan.peak_bytes;
  row.fits = row.peak_bytes <= subject.memory_bytes;
  for (const double fraction : axes.kv_fractions) {
    row.kv_tokens.push_back(kv_tokens(plan, subject.memory_bytes, fraction));
  }
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
        rows.push_back(plan_row(subject, options, axes, row));
      }
    }
  }
  return rows;
}

std::string to_text(const std::vector<WhatIfRow>& rows, const WhatIfAxes& axes) {
  std::string text = fmt::format("  {:<9} {:>10} {:>8} {:>9} {:>12} {:>5} {:>12} {:>12}", "precision",
                                 "picture", "tokens", "context", "peak", "fits", "first token", "tokens/s");
  for (const double fraction : axes.kv_fractions)
    text += fmt::format(" {:>9}", fmt::format("KV {}", fraction));
  text += '\n';
  for (const WhatIfRow& row : rows) {
    text += fmt::format("  {:<9} {:>10} {:>8} {:>9} {:>8.2f} GiB {:>5} {:>10.3f} s {:>12.1f}",
                        name_of(row.precision), picture_text(row.picture), row.image_tokens, row.context,
                        static_cast<double>(row.peak_bytes) / 0x1p30, row.fits ? "yes" : "no",
                        row.first_token_seconds, row.tokens_per_second);
    for (const std::int64_t tokens : row.kv_tokens) text += fmt::format(" {:>9}", tokens);
    text += '\n';
  }
  if (axes.kv_fractions.empty()) return text;
  return text + "  KV X: tokens that keys and values have room for with --kv-limit X\n";
}

std::string to_json(const std::vector<WhatIfRow>& rows, const WhatIfAxes& axes) {
  auto table = nlohmann::ordered_json::array();
  for (const WhatIfRow& row : rows) {
    auto kv = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < row.kv_tokens.size(); ++i) {
      kv.push_back({{"fraction", axes.kv_fractions.at(i)}, {"tokens", row.kv_tokens[i]}});
    }
    table.push_back({{"precision", name_of(row.precision)},
                     {"picture", picture_text(row.picture)},
                     {"image_tokens", row.image_tokens},
                     {"context", row.context},
                     {"peak_bytes", row.peak_bytes},
                     {"fits", row.fits},
                     {"first_token_seconds", row.first_token_seconds},
                     {"tokens_per_second", row.tokens_per_second},
                     {"kv_limits", std::move(kv)}});
  }
  return table.dump(2) + "\n";
}

}  // namespace galago
