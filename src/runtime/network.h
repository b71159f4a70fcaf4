// The parts of a loaded model, and the passes through them that a request is made of. Plan mode and run mode
// share it all.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "backend/backend.h"
#include "model/decoder.h"
#include "model/description.h"
#include "model/projector.h"
#include "model/vision_tower.h"
#include "model/weights.h"

namespace galago::runtime {

struct Network {
  model::Description description;
  std::optional<model::VisionTower> tower;
  std::optional<model::Projector> projector;
  model::Decoder decoder;
};

/// Asks `source` for what sees pictures: tower and projector.
void load_sight(Network& network, model::WeightSource& source);

/// Asks `source` for every weight that the description needs.
Network load_network(const model::Description& description, model::WeightSource& source);

/// Sees the values of a stage while they exist.
using StageObserver = std::function<void(std::string_view name, const Matrix& values)>;

/// Pixels [n_tiles, 3, image_size, image_size] (null in plan mode) to their embeddings
/// [n_tiles * tokens_per_tile, hidden_size]. `observer` may be empty; it sees tower_features.
void encode_tiles(const Network& network, backend::Backend& backend, backend::Execution& exec,
                  const float* pixels, const Matrix& embeddings, const StageObserver& observer);

/// Writes the embedding that ends a line of tiles to `row` [1, hidden_size].
void encode_newline(const Network& network, backend::Backend& backend, backend::Execution& exec,
                    const Matrix& row);

}  // namespace galago::runtime
