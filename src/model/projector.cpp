#include "model/projector.h"

namespace galago::model {
namespace {

/// Squares of patches side by side in one row each, normed; the class token is left out.
Matrix shuffle_patches(const Projector& projector, backend::Backend& backend, backend::Execution& exec,
                       const Matrix& features, std::int64_t n_tokens) {
  constexpr float epsilon = 1e-5F;  // of the layer's default, whatever the tower has
  const Matrix tokens = exec.arena.matrix(memory::RegionId::activations, n_tokens, projector.norm.shape[0]);
  const Matrix patches = features.slice_rows(1, features.rows - 1);
  backend.pixel_shuffle(exec, patches, projector.shape.shuffle, tokens);
  backend.layer_norm(exec, tokens, projector.norm, projector.norm_bias, epsilon, tokens);
  return tokens;
}

}  // namespace

Projector load_projector(const ProjectorShape& shape, std::int64_t tower_width, std::int64_t decoder_width,
                         WeightSource& source) {
  Projector projector;
  projector.shape = shape;
  const std::int64_t input = shape.shuffle == 0 ? tower_width : tower_width * shape.shuffle * shape.shuffle;
  if (shape.shuffle > 0) {
    projector.norm = source.vector({"projector.norm.weight", {input}});
    projector.norm_bias = source.vector({"projector.norm.bias", {input}});
  }
  projector.first = source.matrix(Part::projector, {"projector.0.weight", {decoder_width, input}});
  projector.first_bias = source.vector({"projector.0.bias", {decoder_width}});
  projector.second = source.matrix(Part::projector, {"projector.1.weight", {decoder_width, decoder_width}});
  projector.second_bias = source.vector({"projector.1.bias", {decoder_width}});
  if (shape.newline) {
    projector.newline = source.vector({"projector.newline", {decoder_width}});
    projector.newline.shape = {1, decoder_width};
  }
  return projector;
}

void run_projector(const Projector& projector, backend::Backend& backend, backend::Execution& exec,
                   const Matrix& features, const Matrix& embeddings) {
  const memory::Scope scope(exec.arena.region(memory::RegionId::activations));
  const Matrix input = projector.shape.shuffle == 0
                           ? features
                           : shuffle_patches(projector, backend, exec, features, embeddings.rows);
  const Matrix wide = exec.arena.matrix(memory::RegionId::activations, input.rows, embeddings.cols);
  backend.linear(exec, input, projector.first,
                 {.bias = projector.first_bias, .activation = projector.shape.activation}, wide);
  backend.linear(exec, wide, projector.second, {.bias = projector.second_bias}, embeddings);
}

}  // namespace galago::model
