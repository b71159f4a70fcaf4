#include "checkpoint/gguf_tower_config.h"

#include <cstdint>
#include <string>

namespace galago::checkpoint {
namespace {

constexpr std::int64_t most_patches_a_side = 4096;

/// The number at a dotted key if it is a whole one above 0, else 0.
std::int64_t count_at(const Json& config, const std::string& key) {
  const Json* value = find_json(config, key);
  if (value == nullptr || !value->is_number_integer() || value->get<double>() < 1) return 0;
  return value->get<double>() > 0x1p31 ? 0 : value->get<std::int64_t>();
}

bool is_ffn_swapped(const Gguf& gguf, const Json& config) {
  const TensorEntry* down = gguf.find_tensor("v.blk.0.ffn_down.weight");
  return down != nullptr && down->shape.rank() == 2 &&
         down->shape[1] == count_at(config, "clip.vision.embedding_length");
}

/// One position is the class token's, the others fill a square.
Json position_size(const Gguf& gguf, const Json& config) {
  const TensorEntry* positions = gguf.find_tensor("v.position_embd.weight");
  const std::int64_t patch = count_at(config, "clip.vision.patch_size");
  if (positions == nullptr || positions->shape.rank() < 2 || patch == 0) return {};
  const std::int64_t n_patches = positions->shape[positions->shape.rank() - 2] - 1;
  for (std::int64_t side = 1; side <= most_patches_a_side && side * side <= n_patches; ++side) {
    if (side * side == n_patches) return side * patch;
  }
  return {};
}

/// Pairs of a flat list; a list of another kind is handed on for its rule to refuse.
Json pairs(const Json* list) {
  if (list == nullptr) return {};
  if (!list->is_array() || list->size() % 2 != 0) return *list;
  Json result = Json::array();
  for (std::size_t i = 0; i < list->size(); i += 2) result.push_back({(*list)[i], (*list)[i + 1]});
  return result;
}

}  // namespace

void add_tower_facts(const Gguf& gguf, const Json& config, Json& section) {
  section["ffn_swapped"] = is_ffn_swapped(gguf, config);
  section["norm_bias"] = gguf.find_tensor("v.blk.0.ln1.bias") != nullptr;
  section["query_key_norm"] = gguf.find_tensor("v.blk.0.attn_q_norm.weight") != nullptr;
  section["tower_attention_bias"] = gguf.find_tensor("v.blk.0.attn_q.bias") != nullptr;
  section["position_size"] = position_size(gguf, config);
  const std::int64_t factor = count_at(config, "clip.vision.projector.scale_factor");
  section["downsample_ratio"] = factor == 0 ? Json() : Json(1.0 / static_cast<double>(factor));
  const Json* grids = find_json(config, "clip.vision.image_grid_pinpoints");
  section["anyres"] = grids != nullptr;
  section["grids"] = pairs(grids);
}

}  // namespace galago::checkpoint
