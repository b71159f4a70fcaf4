// GGUF metadata in the form in which families read configurations.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "base/json.h"
#include "checkpoint/gguf.h"

namespace galago::checkpoint {

/// The metadata as an object with a level for each dot of the keys, tokenizer tables and long lists left out;
/// a list of one is its element. The section "gguf" holds what only the tensors tell:
///
///     vocab_size       rows of the token embeddings
///     tied_embeddings  there is no output layer
///     attention_bias, attention_out_bias   query, key and value, and what joins the heads, have biases
///     partial_rotary   the fraction of a head that positions turn, or null: all of it
///     rope_scaling     as configurations of transformers write it, or null
///
/// and what gguf_tower_config.h says of vision towers.
///
/// `file` is the tensors' file, `name` names it in messages. Throws ErrorCode::model.
Json gguf_config(const Gguf& gguf, std::span<const std::byte> file, std::string_view name);

}  // namespace galago::checkpoint
