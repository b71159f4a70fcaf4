// The ladder of the fit search: precisions first, what costs only time within each, then a shorter context.
#include <algorithm>
#include <array>
#include <optional>

#include "runtime/fit.h"

namespace galago::runtime {
namespace {

// Shorter conversations than this are of no use to anybody.
constexpr std::int64_t least_context = 512;

/// Storage types from the best quality downwards. The tower is small, and every answer about a picture rests
/// on it, so it follows the decoder a step later. Rungs that save nothing are left out: that depends on what
/// is stored.
struct Numbers {
  Precision decoder;
  Precision tower;
};
constexpr std::array<Numbers, 8> ladder{{{Precision::automatic, Precision::automatic},
                                         {Precision::fp16, Precision::fp16},
                                         {Precision::int8, Precision::automatic},
                                         {Precision::int8, Precision::fp16},
                                         {Precision::int8, Precision::int8},
                                         {Precision::int4, Precision::fp16},
                                         {Precision::int4, Precision::int8},
                                         {Precision::int4, Precision::int4}}};

/// What saves memory at the price of time alone, from cheap to dear.
struct Saving {
  std::int64_t prefill_chunk;  ///< most
  bool one_tile;
  bool staged;
};
constexpr std::int64_t any_chunk = 1 << 24;
constexpr std::array<Saving, 8> savings{{{any_chunk, false, false},
                                         {any_chunk, true, false},
                                         {128, true, false},
                                         {32, true, false},
                                         {any_chunk, false, true},
                                         {any_chunk, true, true},
                                         {128, true, true},
                                         {32, true, true}}};

/// Bytes of all weights that a configuration keeps, as far as candidates differ in them.
double bits_of(const std::optional<WeightFormat>& format, const checkpoint::TensorSource& source) {
  const WeightFormat stored = source.format();
  if (!format) return stored.bits_per_weight();
  if (format->is_grouped() && (source.shape.rank() != 2 || stored.bits_per_weight() <= 8)) {
    return std::min(stored.bits_per_weight(), format->bits_per_weight());
  }
  return format->bits_per_weight();
}

double weight_bits(const Blueprint& model, const Configuration& configuration) {
  double bits = 0;
  for (const auto& [name, source] : model.checkpoint.tensors) {
    const bool tower = name.compare(0, 6, "tower.") == 0;
    const auto& format = tower ? configuration.tower_format : configuration.decoder_format;
    bits += bits_of(format, source) * static_cast<double>(source.shape.elements());
  }
  return bits;
}

void choose_numbers(const Numbers& numbers, const EngineOptions& options, Configuration& configuration) {
  if (options.precision == Precision::automatic) {
    const Configuration formats = formats_for(numbers.decoder);
    configuration.decoder_format = formats.decoder_format;
    configuration.vocabulary_format = formats.vocabulary_format;
  }
  if (options.tower_precision == Precision::automatic && numbers.tower != Precision::automatic) {
    configuration.tower_format = formats_for(numbers.tower).tower_format;
  }
}

/// The configurations of one context, each with the numbers of a rung.
std::vector<Configuration> rungs(const Blueprint& model, const EngineOptions& options,
                                 const Configuration& asked) {
  std::vector<Configuration> rungs;
  double least = 0;
  for (const Numbers& numbers : ladder) {
    Configuration configuration = asked;
    choose_numbers(numbers, options, configuration);
    const double bits = weight_bits(model, configuration);
    if (!rungs.empty() && bits >= least) continue;
    least = bits;
    rungs.push_back(configuration);
  }
  return rungs;
}

std::vector<Configuration> ways_of_saving(const EngineOptions& options, const Configuration& rung) {
  std::vector<Configuration> ways;
  const auto is_new = [&](const Configuration& way) {
    return std::none_of(ways.begin(), ways.end(), [&](const Configuration& other) {
      return other.prefill_chunk == way.prefill_chunk && other.tile_batch == way.tile_batch &&
             other.tower_staged == way.tower_staged;
    });
  };
  for (const Saving& saving : savings) {
    if (saving.staged && options.tower_placement == TowerPlacement::resident) continue;
    Configuration way = rung;
    way.prefill_chunk = std::min(way.prefill_chunk, saving.prefill_chunk);
    if (way.logit_rows > 1) way.logit_rows = way.prefill_chunk;
    if (saving.one_tile && options.tile_batch == 0 && way.with_pictures) way.tile_batch = 1;
    way.tower_staged = way.tower_staged || (saving.staged && way.with_pictures);
    way.kept_pictures = way.tower_staged ? way.staged_pictures : 1;
    if (is_new(way)) ways.push_back(way);
  }
  return ways;
}

/// Reading layers in every step keeps all numbers and costs the most time by far, so it comes after
/// everything else; the fewer layers, the better.
void append_streamed(const Blueprint& model, const EngineOptions& options, const Configuration& full,
                     std::vector<Configuration>& candidates) {
  const std::int64_t n_layers = model.description.decoder.n_layers;
  for (const Configuration& rung : rungs(model, options, full)) {
    Configuration streamed = ways_of_saving(options, rung).back();
    for (const std::int64_t quarters : {1, 2, 3, 4}) {
      // An even number, so that each slot always has the same layers. Two slots hold two layers anyway.
      streamed.streamed_layers = n_layers * quarters / 4 / 2 * 2;
      if (streamed.streamed_layers > 2) candidates.push_back(streamed);
    }
  }
}

}  // namespace

std::vector<Configuration> fit_candidates(const Blueprint& model, const EngineOptions& options,
                                          const Demand& demand) {
  std::vector<Configuration> candidates;
  EngineOptions asked = options;
  const Configuration full = configure(options, model.description, demand);
  const bool context_is_free = options.context == 0 && !options.workload;
  Configuration base = full;
  while (true) {
    for (const Configuration& rung : rungs(model, options, base)) {
      for (const Configuration& way : ways_of_saving(options, rung)) candidates.push_back(way);
    }
    asked.context = base.context / 2;
    if (!context_is_free || asked.context < least_context) break;
    base = configure(asked, model.description, demand);
  }
  if (options.streamed_layers > 0) return candidates;
  append_streamed(model, options, full, candidates);
  if (base.context < full.context) append_streamed(model, options, base, candidates);
  return candidates;
}

}  // namespace galago::runtime
