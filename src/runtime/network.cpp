#include "runtime/network.h"

namespace galago::runtime {

void load_sight(Network& network, model::WeightSource& source) {
  const model::Description& description = network.description;
  network.tower = model::load_tower(*description.tower, source);
  network.projector = model::load_projector(*description.projector, description.tower->hidden_size,
                                            description.decoder.hidden_size, source);
}

Network load_network(const model::Description& description, model::WeightSource& source) {
  Network network;
  network.description = description;
  if (description.tower) load_sight(network, source);
  network.decoder = model::load_decoder(description.decoder, source);
  return network;
}

void encode_tiles(const Network& network, backend::Backend& backend, backend::Execution& exec,
                  const float* pixels, const Matrix& embeddings, const StageObserver& observer) {
  const model::TowerShape& tower = network.tower->shape;
  const std::int64_t per_tile = network.description.tokens_per_tile();
  const std::int64_t n_tiles = embeddings.rows / per_tile;
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  const Matrix features =
      exec.arena.matrix(memory::RegionId::activations, n_tiles * tower.tokens(), tower.hidden_size);
  model::run_tower(*network.tower, backend, exec, pixels, features);
  for (std::int64_t tile = 0; tile < n_tiles; ++tile) {
    // Without the class token a tile's features begin one row later; no copy is needed to leave it out.
    const std::int64_t first = tile * tower.tokens() + (tower.tokens() - tower.features());
    const Matrix selected = features.slice_rows(first, tower.features());
    if (observer) observer("tower_features", selected);
    model::run_projector(*network.projector, backend, exec, selected,
                         embeddings.slice_rows(tile * per_tile, per_tile));
  }
}

void encode_newline(const Network& network, backend::Backend& backend, backend::Execution& exec,
                    const Matrix& row) {
  constexpr std::int32_t only_row = 0;
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  const backend::StepRows rows = backend.bring_rows(exec, {{&only_row, 1}, {}}, {});
  backend.token_embed(exec, rows, network.projector->newline, {}, row);
}

}  // namespace galago::runtime
