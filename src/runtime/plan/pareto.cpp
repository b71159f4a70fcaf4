// The choices worth having: every combination of the levers is planned, and what another one beats in
// quality, memory and time at once is left out.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/fail.h"
#include "galago/plan.h"
#include "runtime/plan/configuration.h"
#include "runtime/plan/plan_subject.h"
#include "runtime/plan/quality.h"

namespace galago {
namespace {

// Of a disk that layers are streamed from: an ordinary solid-state one.
constexpr double disk_bytes_per_second = 1e9;

constexpr std::array<Precision, 4> precisions{Precision::automatic, Precision::fp16, Precision::int8,
                                              Precision::int4};
constexpr std::array<KvPrecision, 3> kv_precisions{KvPrecision::automatic, KvPrecision::int8,
                                                   KvPrecision::int4};

/// One way of setting the levers.
struct Setting {
  EngineOptions options;
  double perplexity_percent = 0;
  double accuracy_points = 0;
};

/// As models/quality.json calls the type.
std::string word_of(Precision precision) {
  return runtime::short_name(runtime::weight_format_of(precision));
}

/// What a lever can be: what the options say, or else all of it.
template <class T, std::size_t n>
std::vector<T> free_choices(const T& asked, const std::array<T, n>& all) {
  if (asked != T::automatic) return {asked};
  return {all.begin(), all.end()};
}

using Settings = std::vector<Setting>;
using runtime::loss_of;

Settings with_precisions(const EngineOptions& options, bool has_tower) {
  const runtime::QualityLosses& losses = runtime::quality_losses();
  Settings settings;
  for (const Precision decoder : free_choices(options.precision, precisions)) {
    // Without a choice of its own the tower follows the decoder.
    for (const Precision tower : has_tower ? free_choices(options.tower_precision, precisions)
                                           : std::vector<Precision>{Precision::automatic}) {
      for (const KvPrecision kv : free_choices(options.kv, kv_precisions)) {
        Setting setting{options, 0, 0};
        setting.options.precision = decoder;
        setting.options.tower_precision = tower;
        setting.options.kv = kv;
        setting.perplexity_percent =
            loss_of(losses.decoder_perplexity_percent, word_of(decoder)) +
            loss_of(losses.kv_perplexity_percent, runtime::short_name(runtime::kv_format_of(kv, decoder)));
        const Precision of_tower = tower == Precision::automatic ? decoder : tower;
        if (has_tower) setting.accuracy_points = loss_of(losses.tower_accuracy_points, word_of(of_tower));
        settings.push_back(setting);
      }
    }
  }
  return settings;
}

/// What costs time alone, added to settings of precisions.
Settings with_savings(const Settings& settings, bool has_tower, std::int64_t n_layers) {
  Settings all;
  const auto add = [&](Setting setting, bool staged, std::int64_t streamed, bool small_steps) {
    EngineOptions& options = setting.options;
    if (staged) options.tower_placement = TowerPlacement::staged;
    if (streamed > 0) options.streamed_layers = streamed;
    if (small_steps) {
      options.prefill_chunk = std::min<std::int64_t>(options.prefill_chunk, 128);
      if (options.tile_batch == 0) options.tile_batch = 1;
    }
    all.push_back(setting);
  };
  for (const Setting& setting : settings) {
    const bool may_stage = has_tower && setting.options.tower_placement == TowerPlacement::automatic;
    const bool may_stream = setting.options.streamed_layers == 0;
    for (const bool small_steps : {false, true}) {
      for (const bool staged : {false, true}) {
        if (staged && !may_stage) continue;
        for (const std::int64_t halves : {0, 1, 2}) {
          const std::int64_t streamed = n_layers * halves / 2 / 2 * 2;
          if (halves > 0 && (!may_stream || streamed <= 2)) continue;
          add(setting, staged, streamed, small_steps);
        }
      }
    }
  }
  return all;
}

/// What the tensors whose names `counts` wants take in the model's files.
template <class Counts>
double stored_bytes(const runtime::Blueprint& model, const Counts& counts) {
  double bytes = 0;
  for (const auto& [name, source] : model.checkpoint.tensors) {
    if (!counts(name)) continue;
    bytes += source.format().bits_per_weight() / 8 * static_cast<double>(source.shape.elements());
  }
  return bytes;
}

/// Seconds that every step of the decoder spends reading its last `n_streamed` layers.
double streaming_seconds(const runtime::Blueprint& model, std::int64_t n_streamed) {
  constexpr std::string_view prefix = "decoder.";
  const std::int64_t first = model.description.decoder.n_layers - n_streamed;
  const auto is_streamed = [&](const std::string& name) {
    if (!name.starts_with(prefix)) return false;
    char* end = nullptr;
    const char* const digits = name.c_str() + prefix.size();
    const std::int64_t layer = std::strtoll(digits, &end, 10);
    return end != digits && layer >= first;
  };
  return stored_bytes(model, is_streamed) / disk_bytes_per_second;
}

/// Seconds that a request spends reading a tower that is not kept.
double staging_seconds(const runtime::Blueprint& model) {
  const auto is_sight = [](const std::string& name) {
    return name.starts_with("tower.") || name.starts_with("projector.");
  };
  return stored_bytes(model, is_sight) / disk_bytes_per_second;
}

ParetoRow describe_row(const runtime::PlanSubject& subject, const Setting& setting) {
  const Plan plan = subject.plan(setting.options);
  ParetoRow row{plan.choice, plan.peak_bytes, 0, 0, 0, setting.perplexity_percent, setting.accuracy_points};
  const std::int64_t streamed = setting.options.streamed_layers;
  const double reading = streamed > 0 ? streaming_seconds(subject.model, streamed) : 0;
  double token_seconds = reading;
  const Workload& workload = *setting.options.workload;
  const std::int64_t prompt_tokens = std::max<std::int64_t>(plan.context - workload.max_new_tokens, 1);
  const std::int64_t steps = (prompt_tokens + plan.prefill_chunk - 1) / plan.prefill_chunk;
  row.first_token_seconds = reading * static_cast<double>(steps);
  if (plan.tower_staged) row.first_token_seconds += staging_seconds(subject.model);
  for (const PhasePlan& phase : plan.phases) {
    if (phase.name == "decode") token_seconds += phase.seconds;
    if (phase.name == "encode" || phase.name == "prefill") row.first_token_seconds += phase.seconds;
  }
  row.tokens_per_second = token_seconds > 0 ? 1 / token_seconds : 0;
  row.request_seconds =
      row.first_token_seconds + static_cast<double>(workload.max_new_tokens) * token_seconds;
  return row;
}

/// Whether `a` is as good as `b` in everything.
bool as_good(const ParetoRow& a, const ParetoRow& b) {
  // Nobody gives up anything for less than this.
  constexpr double alike = 1.02;
  return a.perplexity_percent <= b.perplexity_percent && a.accuracy_points <= b.accuracy_points &&
         static_cast<double>(a.peak_bytes) <= static_cast<double>(b.peak_bytes) * alike &&
         a.request_seconds <= b.request_seconds * alike;
}

std::vector<ParetoRow> front_of(const std::vector<ParetoRow>& rows) {
  std::vector<ParetoRow> front;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    bool beaten = false;
    // Of equal ones the first stays.
    for (std::size_t j = 0; j < rows.size() && !beaten; ++j) {
      beaten = j != i && as_good(rows[j], rows[i]) && (j < i || !as_good(rows[i], rows[j]));
    }
    if (!beaten) front.push_back(rows[i]);
  }
  std::stable_sort(front.begin(), front.end(), [](const ParetoRow& a, const ParetoRow& b) {
    const double loss_a = a.perplexity_percent + a.accuracy_points;
    const double loss_b = b.perplexity_percent + b.accuracy_points;
    return loss_a != loss_b ? loss_a < loss_b : a.request_seconds < b.request_seconds;
  });
  return front;
}

}  // namespace

std::vector<ParetoRow> plan_pareto(const EngineOptions& options) {
  const runtime::PlanSubject subject(options);
  EngineOptions base = options;
  base.workload = options.workload.value_or(Workload{});
  const bool has_tower = subject.model.description.tower.has_value() && base.workload->n_images > 0;
  if (!has_tower) base.workload->n_images = 0;
  const Settings settings =
      with_savings(with_precisions(base, has_tower), has_tower, subject.model.description.decoder.n_layers);
  std::vector<ParetoRow> rows;
  ParetoRow smallest;
  for (const Setting& setting : settings) {
    const ParetoRow row = describe_row(subject, setting);
    if (smallest.peak_bytes == 0 || row.peak_bytes < smallest.peak_bytes) smallest = row;
    if (row.peak_bytes <= subject.memory_bytes) rows.push_back(row);
  }
  if (rows.empty()) {
    fail(ErrorCode::memory,
         "{}: nothing fits in {} bytes; the smallest choice ({}) needs {}: {} bytes too few",
         subject.model.checkpoint.directory.string(), subject.memory_bytes, smallest.choice,
         smallest.peak_bytes, smallest.peak_bytes - subject.memory_bytes);
  }
  return front_of(rows);
}

std::string to_text(const std::vector<ParetoRow>& rows) {
  std::string text = fmt::format("  {:>11} {:>10} {:>12} {:>9} {:>12}  {}\n", "perplexity", "accuracy",
                                 "peak", "tokens/s", "first token", "choice");
  for (const ParetoRow& row : rows) {
    text += fmt::format("  {:>+9.2f} % {:>+10.2f} {:>8.2f} GiB {:>9.1f} {:>10.3f} s  {}\n",
                        row.perplexity_percent, row.accuracy_points == 0 ? 0 : -row.accuracy_points,
                        static_cast<double>(row.peak_bytes) / 0x1p30, row.tokens_per_second,
                        row.first_token_seconds, row.choice);
  }
  return text +
         "  expected, beside FP16: perplexity by decoder and KV, points of accuracy by the tower "
         "(docs/benchmarks/quality.md); times at the ceilings\n";
}

std::string to_json(const std::vector<ParetoRow>& rows) {
  auto table = nlohmann::ordered_json::array();
  for (const ParetoRow& row : rows) {
    table.push_back({{"choice", row.choice},
                     {"peak_bytes", row.peak_bytes},
                     {"first_token_seconds", row.first_token_seconds},
                     {"tokens_per_second", row.tokens_per_second},
                     {"request_seconds", row.request_seconds},
                     {"perplexity_percent", row.perplexity_percent},
                     {"accuracy_points", row.accuracy_points}});
  }
  return table.dump(2) + "\n";
}

}  // namespace galago
