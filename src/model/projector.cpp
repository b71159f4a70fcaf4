#include "model/projector.h"

namespace galago::model {

Projector load_projector(const ProjectorShape& shape, std::int64_t tower_width, std::int64_t decoder_width,
                         WeightSource& source) {
  Projector projector;
  projector.shape = shape;
  projector.first = source.matrix(Part::projector, {"projector.0.weight", {decoder_width, tower_width}});
  projector.first_bias = source.vector({"projector.0.bias", {decoder_width}});
  projector.second = source.matrix(Part::projector, {"projector.1.weight", {decoder_width, decoder_width}});
  projector.second_bias = source.vector({"projector.1.bias", {decoder_width}});
  return projector;
}

void run_projector(const Projector& projector, backend::Backend& backend, backend::Execution& exec,
                   const Matrix& features, const Matrix& embeddings) {
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  const Matrix wide = exec.arena.matrix(memory::RegionId::activations, features.rows, embeddings.cols);
  backend.linear(exec, features, projector.first,
                 {.bias = projector.first_bias, .activation = projector.shape.activation}, wide);
  backend.linear(exec, wide, projector.second, {.bias = projector.second_bias}, embeddings);
}

}  // namespace galago::model
