// What a GGUF file with a vision tower leaves to its tensors, and lists that families read in another form.
#pragma once

#include "base/json.h"
#include "checkpoint/gguf.h"

namespace galago::checkpoint {

/// Adds to the section "gguf" of a configuration, which is gguf_config's otherwise:
///
///     ffn_swapped       "ffn_down" is a layer's first matrix, as old converters named it
///     norm_bias         the layers' norms have biases: LayerNorm, else RMSNorm
///     query_key_norm, tower_attention_bias   query and key are normalised; query, key and value have biases
///     position_size     the side in pixels of the picture that the stored positions are for, or null
///     downsample_ratio  what 1 / clip.vision.projector.scale_factor is, or null
///     grids             clip.vision.image_grid_pinpoints in pairs, or null
///     anyres            there are such grids
void add_tower_facts(const Gguf& gguf, const Json& config, Json& section);

}  // namespace galago::checkpoint
