// What storage types are expected to cost in quality, measured for other models (models/quality.json).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/embedded_file.h"

namespace galago::runtime {

/// Losses beside FP16, by the type's name on the command line ("int8"); types that are not listed lose
/// nothing.
struct QualityLosses {
  std::map<std::string, double, std::less<>> decoder_perplexity_percent;
  std::map<std::string, double, std::less<>> kv_perplexity_percent;
  std::map<std::string, double, std::less<>> tower_accuracy_points;
};

const QualityLosses& quality_losses();

/// The file is our own: a mistake in it is ErrorCode::internal.
QualityLosses parse_quality(const EmbeddedFile& file);

/// A gain that was measured is chance: it counts as no loss.
double loss_of(const std::map<std::string, double, std::less<>>& losses, std::string_view type);

}  // namespace galago::runtime
