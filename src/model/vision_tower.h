// The vision tower: pixel tiles in, one feature vector a patch out.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "model/description.h"
#include "model/weights.h"

namespace galago::model {

struct TowerLayer {
  Weight norm1, norm1_bias;                  ///< [hidden_size]
  Weight qkv, qkv_bias;                      ///< [3 hidden_size, hidden_size], [3 hidden_size]
  Weight attention_out, attention_out_bias;  ///< [hidden_size, hidden_size], [hidden_size]
  Weight norm2, norm2_bias;                  ///< [hidden_size]
  Weight up, up_bias;                        ///< [mlp_size, hidden_size], [mlp_size]
  Weight down, down_bias;                    ///< [hidden_size, mlp_size], [hidden_size]
  Weight query_norm, key_norm;               ///< [hidden_size], or not present
  Weight attention_scale, mlp_scale;         ///< [hidden_size], or not present
};

struct VisionTower {
  TowerShape shape;
  Weight patch;       ///< [hidden_size, 3, patch_size, patch_size], a convolution without overlap or bias
  Weight patch_bias;  ///< [hidden_size], or not present
  Weight class_embedding;          ///< [hidden_size]
  Weight positions;                ///< [tokens, hidden_size]
  Weight pre_norm, pre_norm_bias;  ///< [hidden_size], or not present
  std::vector<TowerLayer> layers;  ///< those below the feature layer
};

VisionTower load_tower(const TowerShape& shape, WeightSource& source);

/// features [n_tiles * tokens, hidden_size] of `pixels` [n_tiles, 3, image_size, image_size] (null in plan
/// mode), the class token of each tile first.
void run_tower(const VisionTower& tower, backend::Backend& backend, backend::Execution& exec,
               const float* pixels, const Matrix& features);

}  // namespace galago::model
