#include "runtime/plan/quality.h"

#include <algorithm>
#include <span>

#include "base/fail.h"
#include "base/json.h"

namespace galago {

std::span<const EmbeddedFile> quality_files();  // by galago_embed

namespace runtime {

QualityLosses parse_quality(const EmbeddedFile& file) {
  try {
    const Json json = parse_json(file.text, file.name, RepeatedKeys::refuse);
    QualityLosses losses;
    json.at("decoder_perplexity_percent").get_to(losses.decoder_perplexity_percent);
    json.at("kv_perplexity_percent").get_to(losses.kv_perplexity_percent);
    json.at("tower_accuracy_points").get_to(losses.tower_accuracy_points);
    const Json& parts = json.at("divergence_nats");
    parts.at("decoder").get_to(losses.divergence_nats.decoder);
    parts.at("embeddings").get_to(losses.divergence_nats.embeddings);
    parts.at("output").get_to(losses.divergence_nats.output);
    parts.at("tower").get_to(losses.divergence_nats.tower);
    parts.at("kv").get_to(losses.divergence_nats.kv);
    return losses;
  } catch (const Json::exception& error) {
    fail(ErrorCode::internal, "{}: {}", file.name, error.what());
  }
}

const QualityLosses& quality_losses() {
  static const QualityLosses losses = parse_quality(quality_files().front());
  return losses;
}

double loss_of(const LossByType& losses, std::string_view type) {
  const auto found = losses.find(type);
  return found == losses.end() ? 0 : std::max(found->second, 0.0);
}

}  // namespace runtime
}  // namespace galago
