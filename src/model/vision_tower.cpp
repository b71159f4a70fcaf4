#include "model/vision_tower.h"

#include <array>
#include <cmath>
#include <string>

namespace galago::model {
namespace {

using memory::RegionId;

constexpr std::int64_t n_channels = 3;

std::string name(std::int64_t layer, const char* tensor) {
  return "tower." + std::to_string(layer) + "." + tensor;
}

TowerLayer load_layer(const TowerShape& shape, std::int64_t i, WeightSource& source) {
  const std::int64_t hidden = shape.hidden_size;
  const std::int64_t mlp = shape.mlp_size;
  TowerLayer layer;
  layer.norm1 = source.vector({name(i, "norm1.weight"), {hidden}});
  layer.norm1_bias = source.vector({name(i, "norm1.bias"), {hidden}});
  layer.qkv =
      source.matrix(Part::tower, std::array<NamedShape, 3>{{{name(i, "attn.q.weight"), {hidden, hidden}},
                                                            {name(i, "attn.k.weight"), {hidden, hidden}},
                                                            {name(i, "attn.v.weight"), {hidden, hidden}}}});
  layer.qkv_bias = source.vector(std::array<NamedShape, 3>{{{name(i, "attn.q.bias"), {hidden}},
                                                            {name(i, "attn.k.bias"), {hidden}},
                                                            {name(i, "attn.v.bias"), {hidden}}}});
  layer.attention_out = source.matrix(Part::tower, {name(i, "attn.o.weight"), {hidden, hidden}});
  layer.attention_out_bias = source.vector({name(i, "attn.o.bias"), {hidden}});
  layer.norm2 = source.vector({name(i, "norm2.weight"), {hidden}});
  layer.norm2_bias = source.vector({name(i, "norm2.bias"), {hidden}});
  layer.up = source.matrix(Part::tower, {name(i, "mlp.up.weight"), {mlp, hidden}});
  layer.up_bias = source.vector({name(i, "mlp.up.bias"), {mlp}});
  layer.down = source.matrix(Part::tower, {name(i, "mlp.down.weight"), {hidden, mlp}});
  layer.down_bias = source.vector({name(i, "mlp.down.bias"), {hidden}});
  return layer;
}

struct TowerContext {
  const TowerShape& shape;
  backend::Backend& backend;
  backend::Execution& exec;
  Matrix hidden;  // [n_tiles * tokens, hidden_size], the residual stream
  Matrix normed;  // likewise
};

void embed(const VisionTower& tower, const float* pixels, const TowerContext& context) {
  const auto& [shape, backend, exec, hidden, normed] = context;
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const backend::PatchGrid grid{hidden.rows / shape.tokens(), n_channels, shape.image_size, shape.patch_size};
  const std::int64_t n_patches = grid.n_tiles * grid.per_tile();
  const Matrix unfolded = exec.arena.matrix(RegionId::activations, n_patches, grid.patch_values());
  const Matrix patches = normed.slice_rows(0, n_patches);

  backend.unfold_patches(exec, pixels, grid, unfolded);
  backend.linear(exec, unfolded, tower.patch, {}, patches);
  backend.tower_embed(exec, patches, tower.class_embedding, tower.positions, hidden);
  backend.layer_norm(exec, hidden, tower.pre_norm, tower.pre_norm_bias, shape.norm_epsilon, hidden);
}

void run_attention(const TowerLayer& layer, const TowerContext& context) {
  const auto& [shape, backend, exec, hidden, normed] = context;
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const std::int64_t width = shape.hidden_size;
  const Matrix qkv = exec.arena.matrix(RegionId::activations, hidden.rows, 3 * width);
  const backend::Heads heads{shape.n_heads, shape.n_heads, shape.head_size(),
                             1.0F / std::sqrt(static_cast<float>(shape.head_size()))};

  backend.layer_norm(exec, hidden, layer.norm1, layer.norm1_bias, shape.norm_epsilon, normed);
  backend.linear(exec, normed, layer.qkv, {.bias = layer.qkv_bias}, qkv);
  // The attended values take the place of the normed rows, which nobody needs any more.
  backend.attend_tile(exec, qkv.slice_cols(0, width), qkv.slice_cols(width, width),
                      qkv.slice_cols(2 * width, width), shape.tokens(), heads, normed);
  backend.linear(exec, normed, layer.attention_out, {.bias = layer.attention_out_bias, .residual = hidden},
                 hidden);
}

void run_mlp(const TowerLayer& layer, const TowerContext& context) {
  const auto& [shape, backend, exec, hidden, normed] = context;
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const Matrix wide = exec.arena.matrix(RegionId::activations, hidden.rows, shape.mlp_size);

  backend.layer_norm(exec, hidden, layer.norm2, layer.norm2_bias, shape.norm_epsilon, normed);
  backend.linear(exec, normed, layer.up, {.bias = layer.up_bias, .activation = shape.activation}, wide);
  backend.linear(exec, wide, layer.down, {.bias = layer.down_bias, .residual = hidden}, hidden);
}

}  // namespace

VisionTower load_tower(const TowerShape& shape, WeightSource& source) {
  const std::int64_t hidden = shape.hidden_size;
  VisionTower tower;
  tower.shape = shape;
  tower.patch = source.matrix(
      Part::tower, {"tower.patch.weight", {hidden, n_channels, shape.patch_size, shape.patch_size}});
  tower.class_embedding = source.vector({"tower.class_embedding", {hidden}});
  tower.positions = source.vector({"tower.position.weight", {shape.tokens(), hidden}});
  tower.pre_norm = source.vector({"tower.pre_norm.weight", {hidden}});
  tower.pre_norm_bias = source.vector({"tower.pre_norm.bias", {hidden}});
  for (std::int64_t i = 0; i < shape.n_layers_run; ++i) tower.layers.push_back(load_layer(shape, i, source));
  return tower;
}

void run_tower(const VisionTower& tower, backend::Backend& backend, backend::Execution& exec,
               const float* pixels, const Matrix& features) {
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const TowerContext context{tower.shape, backend, exec, features,
                             exec.arena.matrix(RegionId::activations, features.rows, features.cols)};
  embed(tower, pixels, context);
  for (const TowerLayer& layer : tower.layers) {
    run_attention(layer, context);
    run_mlp(layer, context);
  }
}

}  // namespace galago::model
