// The what-if table: one model at several precisions, picture sizes, contexts and batches, each planned
// exactly.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "galago/plan.h"
#include "runtime/load/shape_model.h"
#include "runtime/plan/fit.h"
#include "runtime/plan/plan_subject.h"

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

/// What the options fix is the only value of its axis.
WhatIfAxes within_options(WhatIfAxes axes, const EngineOptions& options,
                          const model::Description& description) {
  if (options.precision != Precision::automatic) axes.precisions = {options.precision};
  if (options.workload && !options.workload->image_sizes.empty())
    axes.pictures = options.workload->image_sizes;
  if (!description.tower) axes.pictures = {{0, 0}};
  std::erase_if(axes.contexts,
                [&](std::int64_t context) { return context > description.decoder.max_context; });
  if (axes.contexts.empty()) axes.contexts = {description.decoder.max_context};
  if (options.context > 0) axes.contexts = {options.context};
  if (options.batch > 1) axes.batches = {options.batch};
  return axes;
}

/// The row of one cell, planned as requests with that picture and no more text than the context holds.
WhatIfRow plan_row(const runtime::PlanSubject& subject, const EngineOptions& base, const WhatIfAxes& axes,
                   WhatIfRow row) {
  EngineOptions options = base;
  options.precision = row.precision;
  options.context = 0;
  options.batch = row.batch;
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
    if (phase.name == "decode" && phase.seconds > 0) {
      row.tokens_per_second = static_cast<double>(row.batch) / phase.seconds;
    }
    if (phase.name == "encode" || phase.name == "prefill") row.first_token_seconds += phase.seconds;
  }
  return row;
}

/// Whether two rows stand in one line of the table.
bool differ_in_batch_only(const WhatIfRow& a, const WhatIfRow& b) {
  return a.precision == b.precision && a.picture.width == b.picture.width &&
         a.picture.height == b.picture.height && a.context == b.context;
}

std::string heading(std::span<const WhatIfRow> line, const WhatIfAxes& axes) {
  std::string above = fmt::format("  {:48}", "");
  std::string text = fmt::format("  {:<9} {:>10} {:>6} {:>8} {:>11}", "precision", "picture", "tokens",
                                 "context", "first token");
  for (const WhatIfRow& row : line) {
    above += fmt::format(" {:>18}", fmt::format("{} at once", row.batch));
    text += fmt::format(" {:>9} {:>8}", "GiB", "tokens/s");
  }
  for (const double fraction : axes.kv_fractions)
    text += fmt::format(" {:>7}", fmt::format("KV {}", fraction));
  return above + '\n' + text + '\n';
}

/// `line`: rows that differ_in_batch_only().
std::string line_text(std::span<const WhatIfRow> line) {
  const WhatIfRow& first = line.front();
  std::string text =
      fmt::format("  {:<9} {:>10} {:>6} {:>8} {:>9.3f} s", name_of(first.precision),
                  picture_text(first.picture), first.image_tokens, first.context, first.first_token_seconds);
  for (const WhatIfRow& row : line) {
    text += fmt::format(" {:>8.2f}{} {:>8.1f}", static_cast<double>(row.peak_bytes) / 0x1p30,
                        row.fits ? ' ' : '*', row.tokens_per_second);
  }
  for (const std::int64_t tokens : first.kv_tokens) text += fmt::format(" {:>7}", tokens);
  return text + '\n';
}

}  // namespace

std::vector<WhatIfRow> plan_what_if(const EngineOptions& options, const WhatIfAxes& axes) {
  const runtime::PlanSubject subject(options);
  const WhatIfAxes within = within_options(axes, options, subject.model.description);
  std::vector<WhatIfRow> rows;
  for (const Precision precision : within.precisions) {
    for (const PictureSize& picture : within.pictures) {
      for (const std::int64_t context : within.contexts) {
        for (const std::int64_t batch : within.batches) {
          rows.push_back(plan_row(subject, options, within, {precision, picture, context, batch}));
        }
      }
    }
  }
  return rows;
}

std::string to_text(const std::vector<WhatIfRow>& rows, const WhatIfAxes& axes) {
  std::string text;
  std::span<const WhatIfRow> left = rows;
  while (!left.empty()) {
    const auto is_next = [&](const WhatIfRow& row) { return !differ_in_batch_only(left.front(), row); };
    const auto n_batches =
        static_cast<std::size_t>(std::find_if(left.begin(), left.end(), is_next) - left.begin());
    const std::span<const WhatIfRow> line = left.first(n_batches);
    if (text.empty()) text = heading(line, axes);
    text += line_text(line);
    left = left.subspan(n_batches);
  }
  text += "  *: does not fit\n";
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
                     {"batch", row.batch},
                     {"peak_bytes", row.peak_bytes},
                     {"fits", row.fits},
                     {"first_token_seconds", row.first_token_seconds},
                     {"tokens_per_second", row.tokens_per_second},
                     {"kv_limits", std::move(kv)}});
  }
  return table.dump(2) + "\n";
}

}  // namespace galago
