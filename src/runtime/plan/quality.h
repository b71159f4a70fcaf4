// What storage types are expected to cost in quality, measured for other models (models/quality.json).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/embedded_file.h"

namespace galago::runtime {

/// Losses beside FP16, by the type's name on the command line ("int8"); types that are not listed lose
/// nothing.
using LossByType = std::map<std::string, double, std::less<>>;
struct QualityLosses {
  LossByType decoder_perplexity_percent;
  LossByType kv_perplexity_percent;
  LossByType tower_accuracy_points;
  /// Divergence from what is stored, in nats a token, by part of the model: only their order and sums matter.
  struct Divergences {
    LossByType decoder, embeddings, output, tower, kv;
  } divergence_nats;
};

const QualityLosses& quality_losses();

/// The file is our own: a mistake in it is ErrorCode::internal.
QualityLosses parse_quality(const EmbeddedFile& file);

/// A gain that was measured is chance: it counts as no loss.
double loss_of(const LossByType& losses, std::string_view type);

}  // namespace galago::runtime
