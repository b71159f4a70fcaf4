#include "runtime/plan/fit_precisions.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <string_view>

#include "runtime/plan/quality.h"

namespace galago::runtime {
namespace {

// Rungs that save less than this fraction of what is left are not worth telling apart.
constexpr double least_saving = 0.02;

/// A storage type that a part may have.
struct Choice {
  std::optional<WeightFormat> format;
  double loss = 0;
  double bits = 0;  ///< of the whole part
};

enum PartIndex : std::size_t { decoder_part, embeddings_part, output_part, tower_part, kv_part, n_parts };
using Choices = std::array<std::vector<Choice>, n_parts>;

PartIndex part_of(std::string_view canonical) {
  if (canonical.substr(0, 6) == "tower.") return tower_part;
  if (canonical == "decoder.embed.weight") return embeddings_part;
  if (canonical == "decoder.output.weight") return output_part;
  return decoder_part;
}

double bits_of(const std::optional<WeightFormat>& format, const checkpoint::TensorSource& source) {
  const double stored = source.format().bits_per_weight();
  if (!format) return stored;
  if (format->is_grouped() && (source.shape.rank() != 2 || stored <= 8)) {
    return std::min(stored, format->bits_per_weight());
  }
  return format->bits_per_weight();
}

double bits_of_part(const Blueprint& model, PartIndex part, const std::optional<WeightFormat>& format) {
  double bits = 0;
  for (const auto& [name, source] : model.checkpoint.tensors) {
    if (part_of(name) != part) continue;
    bits += bits_of(format, source) * static_cast<double>(source.shape.elements());
  }
  return bits;
}

double kv_bits(const Blueprint& model, const Configuration& asked, const WeightFormat& format) {
  const model::DecoderShape& decoder = model.description.decoder;
  const model::KvPages pages = model::layout_pages(decoder, decoder.n_layers, format, asked.page_tokens);
  return 8.0 * static_cast<double>(pages.page_bytes) * static_cast<double>(asked.n_pages());
}

using BitsOf = std::function<double(const std::optional<WeightFormat>&)>;

/// What is asked for, and, where the part is free, what takes fewer bits than that and the one before.
std::vector<Choice> choices_of(const std::optional<WeightFormat>& asked, bool is_free,
                               const LossByType& losses, const std::array<WeightFormat, 3>& formats,
                               const BitsOf& bits_with) {
  std::vector<Choice> choices{{asked, 0, bits_with(asked)}};
  if (!is_free) return choices;
  for (const WeightFormat& format : formats) {
    const double bits = bits_with(format);
    if (bits < choices.back().bits) choices.push_back({format, loss_of(losses, short_name(format)), bits});
  }
  return choices;
}

Choices all_choices(const Blueprint& model, const EngineOptions& options, const Configuration& asked) {
  const std::array<WeightFormat, 3> formats{*weight_format_of(Precision::fp16),
                                            *weight_format_of(Precision::int8),
                                            *weight_format_of(Precision::int4)};
  const auto weights = [&](PartIndex part, const std::optional<WeightFormat>& format, Precision fixed,
                           const LossByType& losses) {
    return choices_of(format, fixed == Precision::automatic, losses, formats,
                      [&, part](const auto& other) { return bits_of_part(model, part, other); });
  };
  // --precision fixes the vocabulary's too, --tower-precision the tower's alone.
  const auto vocabulary = [&](Precision own) {
    return options.precision != Precision::automatic ? options.precision : own;
  };
  const bool tied = model.description.decoder.tied_embeddings;
  const Precision embeddings = tied && options.embeddings_precision == Precision::automatic
                                   ? options.output_precision
                                   : options.embeddings_precision;
  const QualityLosses::Divergences& losses = quality_losses().divergence_nats;
  Choices choices;
  choices[decoder_part] = weights(decoder_part, asked.decoder_format, options.precision, losses.decoder);
  choices[embeddings_part] = weights(embeddings_part, asked.embeddings_format, vocabulary(embeddings),
                                     tied ? losses.output : losses.embeddings);
  choices[output_part] =
      weights(output_part, asked.output_format, vocabulary(options.output_precision), losses.output);
  choices[tower_part] = weights(tower_part, asked.tower_format, options.tower_precision, losses.tower);
  choices[kv_part] =
      choices_of(asked.kv_format, options.kv == KvPrecision::automatic, losses.kv,
                 {kv_format_of(KvPrecision::fp16, {}), kv_format_of(KvPrecision::int8, {}),
                  kv_format_of(KvPrecision::int4, {})},
                 [&](const std::optional<WeightFormat>& format) { return kv_bits(model, asked, *format); });
  return choices;
}

/// One choice a part.
struct Combination {
  std::array<const Choice*, n_parts> parts{};
  double loss = 0;
  double bits = 0;
};

std::vector<Combination> combine(const Choices& choices) {
  std::vector<Combination> combinations(1);
  for (std::size_t part = 0; part < n_parts; ++part) {
    std::vector<Combination> longer;
    for (const Combination& combination : combinations) {
      for (const Choice& choice : choices[part]) {
        Combination next = combination;
        next.parts[part] = &choice;
        next.loss += choice.loss;
        next.bits += choice.bits;
        longer.push_back(next);
      }
    }
    combinations = std::move(longer);
  }
  std::stable_sort(combinations.begin(), combinations.end(),
                   [](const Combination& a, const Combination& b) { return a.loss < b.loss; });
  return combinations;
}

Configuration with(const Combination& combination, const Configuration& asked) {
  Configuration configuration = asked;
  configuration.decoder_format = combination.parts[decoder_part]->format;
  configuration.embeddings_format = combination.parts[embeddings_part]->format;
  configuration.output_format = combination.parts[output_part]->format;
  configuration.tower_format = combination.parts[tower_part]->format;
  configuration.kv_format = *combination.parts[kv_part]->format;
  return configuration;
}

}  // namespace

std::vector<Configuration> precision_rungs(const Blueprint& model, const EngineOptions& options,
                                           const Configuration& asked) {
  const Choices choices = all_choices(model, options, asked);
  std::vector<Configuration> rungs;
  double least = 0;
  const std::vector<Combination> combinations = combine(choices);
  const auto smallest =
      std::min_element(combinations.begin(), combinations.end(),
                       [](const Combination& a, const Combination& b) { return a.bits < b.bits; });
  for (const Combination& combination : combinations) {
    // The smallest of all is what remains when nothing else fits, however little it saves.
    const bool saves = combination.bits < (1 - least_saving) * least;
    const bool is_last = &combination == &*smallest && combination.bits < least;
    if (!rungs.empty() && !saves && !is_last) continue;
    least = combination.bits;
    rungs.push_back(with(combination, asked));
  }
  return rungs;
}

}  // namespace galago::runtime
