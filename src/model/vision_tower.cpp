#include "model/vision_tower.h"

#include <array>
#include <cmath>
#include <string>

#include "model/positions.h"

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
  const bool norm_bias = shape.norm == TowerNorm::layer_norm;
  layer.norm1 = source.vector({name(i, "norm1.weight"), {hidden}});
  if (norm_bias) layer.norm1_bias = source.vector({name(i, "norm1.bias"), {hidden}});
  layer.qkv =
      source.matrix(Part::tower, std::array<NamedShape, 3>{{{name(i, "attn.q.weight"), {hidden, hidden}},
                                                            {name(i, "attn.k.weight"), {hidden, hidden}},
                                                            {name(i, "attn.v.weight"), {hidden, hidden}}}});
  if (shape.attention_bias) {
    layer.qkv_bias = source.vector(std::array<NamedShape, 3>{{{name(i, "attn.q.bias"), {hidden}},
                                                              {name(i, "attn.k.bias"), {hidden}},
                                                              {name(i, "attn.v.bias"), {hidden}}}});
  }
  if (shape.query_key_norm) {
    layer.query_norm = source.vector({name(i, "attn.q_norm.weight"), {hidden}});
    layer.key_norm = source.vector({name(i, "attn.k_norm.weight"), {hidden}});
  }
  layer.attention_out = source.matrix(Part::tower, {name(i, "attn.o.weight"), {hidden, hidden}});
  layer.attention_out_bias = source.vector({name(i, "attn.o.bias"), {hidden}});
  layer.norm2 = source.vector({name(i, "norm2.weight"), {hidden}});
  if (norm_bias) layer.norm2_bias = source.vector({name(i, "norm2.bias"), {hidden}});
  layer.up = source.matrix(Part::tower, {name(i, "mlp.up.weight"), {mlp, hidden}});
  layer.up_bias = source.vector({name(i, "mlp.up.bias"), {mlp}});
  layer.down = source.matrix(Part::tower, {name(i, "mlp.down.weight"), {hidden, mlp}});
  layer.down_bias = source.vector({name(i, "mlp.down.bias"), {hidden}});
  if (shape.layer_scale) {
    layer.attention_scale = source.vector({name(i, "attn_scale"), {hidden}});
    layer.mlp_scale = source.vector({name(i, "mlp_scale"), {hidden}});
  }
  return layer;
}

Weight load_positions(const TowerShape& shape, WeightSource& source) {
  const std::int64_t hidden = shape.hidden_size;
  const NamedShape stored{"tower.position.weight", {1 + shape.position_side * shape.position_side, hidden}};
  if (shape.position_side == shape.side()) return source.vector(stored);
  const PositionGrids grids{shape.position_side, shape.side(), hidden};
  return source.derived(
      stored, {shape.tokens(), hidden},
      [grids](std::span<const float> from, std::span<float> to) { resample_positions(from, grids, to); });
}

struct TowerContext {
  const TowerShape& shape;
  backend::Backend& backend;
  backend::Execution& exec;
  Matrix hidden;  // [n_tiles * tokens, hidden_size], the residual stream
  Matrix normed;  // likewise
};

void run_norm(const TowerContext& context, const Weight& weight, const Weight& bias) {
  const auto& [shape, backend, exec, hidden, normed] = context;
  if (shape.norm == TowerNorm::rms_norm) {
    backend.rms_norm(exec, hidden, weight, shape.norm_epsilon, normed);
  } else {
    backend.layer_norm(exec, hidden, weight, bias, shape.norm_epsilon, normed);
  }
}

/// hidden += (x w^T + bias) * scale; `scale` may be not present.
void add_branch(const TowerContext& context, const Matrix& x, const Weight& w, const Weight& bias,
                const Weight& scale) {
  const auto& [shape, backend, exec, hidden, normed] = context;
  if (!scale.present()) {
    backend.linear(exec, x, w, {.bias = bias, .residual = hidden}, hidden);
    return;
  }
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const Matrix branch = exec.arena.matrix(RegionId::activations, hidden.rows, hidden.cols);
  backend.linear(exec, x, w, {.bias = bias}, branch);
  backend.add_scaled(exec, branch, scale, hidden);
}

void embed(const VisionTower& tower, const float* pixels, const TowerContext& context) {
  const auto& [shape, backend, exec, hidden, normed] = context;
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const backend::PatchGrid grid{hidden.rows / shape.tokens(), n_channels, shape.image_size, shape.patch_size};
  const std::int64_t n_patches = grid.n_tiles * grid.per_tile();
  const Matrix unfolded = exec.arena.matrix(RegionId::activations, n_patches, grid.patch_values());
  const Matrix patches = normed.slice_rows(0, n_patches);

  backend.unfold_patches(exec, pixels, grid, unfolded);
  backend.linear(exec, unfolded, tower.patch, {.bias = tower.patch_bias}, patches);
  backend.tower_embed(exec, patches, tower.class_embedding, tower.positions, hidden);
  if (!shape.pre_norm) return;
  backend.layer_norm(exec, hidden, tower.pre_norm, tower.pre_norm_bias, shape.norm_epsilon, hidden);
}

void run_attention(const TowerLayer& layer, const TowerContext& context) {
  const auto& [shape, backend, exec, hidden, normed] = context;
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const std::int64_t width = shape.hidden_size;
  const Matrix qkv = exec.arena.matrix(RegionId::activations, hidden.rows, 3 * width);
  const backend::Heads heads{shape.n_heads, shape.n_heads, shape.head_size(),
                             1.0F / std::sqrt(static_cast<float>(shape.head_size()))};

  const Matrix q = qkv.slice_cols(0, width);
  const Matrix k = qkv.slice_cols(width, width);
  run_norm(context, layer.norm1, layer.norm1_bias);
  backend.linear(exec, normed, layer.qkv, {.bias = layer.qkv_bias}, qkv);
  if (shape.query_key_norm) {
    backend.rms_norm(exec, q, layer.query_norm, shape.norm_epsilon, q);
    backend.rms_norm(exec, k, layer.key_norm, shape.norm_epsilon, k);
  }
  // The attended values take the place of the normed rows, which nobody needs any more.
  backend.attend_tile(exec, q, k, qkv.slice_cols(2 * width, width), shape.tokens(), heads, normed);
  add_branch(context, normed, layer.attention_out, layer.attention_out_bias, layer.attention_scale);
}

void run_mlp(const TowerLayer& layer, const TowerContext& context) {
  const auto& [shape, backend, exec, hidden, normed] = context;
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const Matrix wide = exec.arena.matrix(RegionId::activations, hidden.rows, shape.mlp_size);

  run_norm(context, layer.norm2, layer.norm2_bias);
  backend.linear(exec, normed, layer.up, {.bias = layer.up_bias, .activation = shape.activation}, wide);
  add_branch(context, wide, layer.down, layer.down_bias, layer.mlp_scale);
}

}  // namespace

VisionTower load_tower(const TowerShape& shape, WeightSource& source) {
  const std::int64_t hidden = shape.hidden_size;
  VisionTower tower;
  tower.shape = shape;
  tower.patch = source.matrix(
      Part::tower, {"tower.patch.weight", {hidden, n_channels, shape.patch_size, shape.patch_size}});
  if (shape.patch_bias) tower.patch_bias = source.vector({"tower.patch.bias", {hidden}});
  tower.class_embedding = source.vector({"tower.class_embedding", {hidden}});
  tower.positions = load_positions(shape, source);
  if (shape.pre_norm) {
    tower.pre_norm = source.vector({"tower.pre_norm.weight", {hidden}});
    tower.pre_norm_bias = source.vector({"tower.pre_norm.bias", {hidden}});
  }
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
