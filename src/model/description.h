// What a model is made of, as the canonical configuration of its checkpoint says: plain numbers, checked
// once.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "model/adapter.h"
#include "model/rope.h"

namespace galago::model {

/// A LLaMA-style decoder (arXiv:2302.13971): RMSNorm, rotary positions, grouped-query attention, gated MLP.
struct DecoderShape {
  std::int64_t hidden_size;
  std::int64_t mlp_size;
  std::int64_t n_layers;
  std::int64_t n_heads;
  std::int64_t n_kv_heads;
  std::int64_t head_size;
  std::int64_t vocab_size;
  std::int64_t max_context;  ///< positions that the model has
  float norm_epsilon;
  Rope rope;
  /// Of each layer: how many positions a token sees, itself included; 0: all before it.
  std::vector<std::int64_t> windows;
  std::int64_t sinks = 0;  ///< first positions that a token sees beside its window, where a layer has one
  backend::Activation activation;
  bool attention_bias;                          ///< of query, key and value
  bool attention_out_bias;                      ///< of the layer that joins the heads
  std::optional<BranchShape> picture_branches;  ///< Partial LoRA on the rows of pictures
  std::vector<AdapterShape> adapters;           ///< that requests may name
  bool tied_embeddings;                         ///< the output layer is the embedding table

  std::int64_t query_size() const { return n_heads * head_size; }
  std::int64_t kv_size() const { return n_kv_heads * head_size; }
};

enum class TowerNorm { layer_norm, rms_norm };

/// A vision transformer, run up to the layer whose features are used: CLIP's (arXiv:2103.00020) or InternViT
/// (arXiv:2312.14238).
struct TowerShape {
  std::int64_t hidden_size;
  std::int64_t mlp_size;
  std::int64_t n_layers_run;  ///< layers below the feature layer; later ones are not loaded
  std::int64_t n_heads;
  std::int64_t image_size;  ///< pixels, square
  std::int64_t patch_size;
  float norm_epsilon;
  backend::Activation activation;
  bool with_class_token;  ///< whether the class token's feature is handed on
  std::int64_t
      position_side;  ///< patches a side that positions are stored for; resampled where they are not side()
  TowerNorm norm;
  bool pre_norm;        ///< a norm follows the embeddings (CLIP)
  bool patch_bias;      ///< of the patch embedding
  bool attention_bias;  ///< of query, key and value
  bool query_key_norm;  ///< RMSNorm of queries and keys, over all heads together
  bool layer_scale;     ///< what a block adds is scaled by a learned vector (arXiv:2103.17239)

  std::int64_t head_size() const { return hidden_size / n_heads; }
  std::int64_t side() const { return image_size / patch_size; }
  std::int64_t patches() const { return side() * side(); }
  std::int64_t tokens() const { return 1 + patches(); }
  std::int64_t pixel_values() const { return 3 * image_size * image_size; }  ///< of one tile
  std::int64_t features() const { return with_class_token ? tokens() : patches(); }
};

/// Two linear layers with an activation between, from the tower's width to the decoder's; with pixel shuffle
/// (InternVL) a LayerNorm before them.
struct ProjectorShape {
  backend::Activation activation;
  std::int64_t shuffle;  ///< squares of this many patches a side become one token; 0: each patch is one
  bool newline;          ///< an embedding ends each line of a picture's grid of tiles (LLaVA-1.6)
};

struct Description {
  DecoderShape decoder;
  std::optional<TowerShape> tower;  ///< absent for text models
  std::optional<ProjectorShape> projector;

  /// Image tokens of one tile.
  std::int64_t tokens_per_tile() const {
    if (!tower) return 0;
    const std::int64_t shuffle = projector->shuffle;
    return shuffle == 0 ? tower->features() : tower->patches() / (shuffle * shuffle);
  }
};

/// Reads the canonical configuration. Throws Error{model} naming `model` and the value that cannot be.
Description describe(const nlohmann::json& config, const std::string& model);

}  // namespace galago::model
