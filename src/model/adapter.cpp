#include "model/adapter.h"

#include <algorithm>
#include <array>

#include "model/description.h"

namespace galago::model {
namespace {

/// One matrix of a layer: where its output lies within the fused layer's.
struct Target {
  const char* name;
  SideBranches LayerBranches::*place;
  std::int64_t columns;  // of the matrix: inputs
  std::int64_t rows;     // of the matrix: outputs
  std::int64_t first_column;
};

std::array<Target, 7> targets_of(const DecoderShape& shape) {
  const std::int64_t hidden = shape.hidden_size;
  const std::int64_t query = shape.query_size();
  const std::int64_t kv = shape.kv_size();
  const std::int64_t mlp = shape.mlp_size;
  return {{{"attn.q", &LayerBranches::qkv, hidden, query, 0},
           {"attn.k", &LayerBranches::qkv, hidden, kv, query},
           {"attn.v", &LayerBranches::qkv, hidden, kv, query + kv},
           {"attn.o", &LayerBranches::attention_out, query, hidden, 0},
           {"mlp.gate", &LayerBranches::gate_up, hidden, mlp, 0},
           {"mlp.up", &LayerBranches::gate_up, hidden, mlp, mlp},
           {"mlp.down", &LayerBranches::down, mlp, hidden, 0}}};
}

std::string layer_name(std::int64_t layer, const std::string& matrix) {
  return "decoder." + std::to_string(layer) + "." + matrix;
}

SideBranch load_branch(const std::string& name, const Target& target, const BranchShape& branch,
                       WeightSource& source) {
  return {{source.matrix(Part::adapter, {name + ".a", {branch.rank, target.columns}}),
           source.matrix(Part::adapter, {name + ".b", {target.rows, branch.rank}}), branch.scale},
          target.first_column};
}

}  // namespace

Adapter load_picture_adapter(const DecoderShape& shape, const LayerRange& range, WeightSource& source) {
  const BranchShape& branch = *shape.picture_branches;
  Adapter adapter;
  adapter.max_rank = branch.rank;
  for (std::int64_t i = range.first; i < range.end; ++i) {
    LayerBranches layer;
    const auto factor = [&](const char* matrix) { return layer_name(i, matrix) + ".picture.b"; };
    const std::array<NamedShape, 3> qkv{{{factor("attn.q"), {shape.query_size(), branch.rank}},
                                         {factor("attn.k"), {shape.kv_size(), branch.rank}},
                                         {factor("attn.v"), {shape.kv_size(), branch.rank}}}};
    layer.qkv.push_back({{source.matrix(Part::adapter, {layer_name(i, "attn.qkv.picture.a"),
                                                        {branch.rank, shape.hidden_size}}),
                          source.matrix(Part::adapter, qkv), branch.scale},
                         0});
    for (const Target& target : targets_of(shape)) {
      if (target.place == &LayerBranches::qkv) continue;
      (layer.*target.place)
          .push_back(load_branch(layer_name(i, target.name) + ".picture", target, branch, source));
    }
    adapter.layers.push_back(std::move(layer));
  }
  return adapter;
}

Adapter load_adapter(const DecoderShape& shape, const LayerRange& range, const AdapterShape& adapter_shape,
                     WeightSource& source) {
  Adapter adapter;
  for (std::int64_t i = range.first; i < range.end; ++i) {
    LayerBranches layer;
    for (const Target& target : targets_of(shape)) {
      const auto branch = adapter_shape.branches.find(layer_name(i, target.name));
      if (branch == adapter_shape.branches.end()) continue;
      adapter.max_rank = std::max(adapter.max_rank, branch->second.rank);
      (layer.*target.place)
          .push_back(load_branch(adapter_shape.prefix + branch->first, target, branch->second, source));
    }
    adapter.layers.push_back(std::move(layer));
  }
  return adapter;
}

}  // namespace galago::model
