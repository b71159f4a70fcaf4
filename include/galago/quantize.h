// Writing a model with its weights in fewer bits.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "galago/options.h"

namespace galago {

enum class QuantizedFormat {
  safetensors,  ///< a directory with the same names, configuration and tokenizer
  gguf,         ///< a file that llama.cpp reads too; a vision tower goes to mmproj-FILE beside it
};

/// What int4 groups have beside their scale; int8 groups are symmetric.
enum class GroupRange {
  minimum,    ///< a minimum: 5 bits a weight in groups of 32
  symmetric,  ///< nothing: 4.5 bits in groups of 32, as GGUF's Q4_0
};

struct QuantizeOptions {
  std::filesystem::path model;            ///< a checkpoint directory
  std::filesystem::path out;              ///< a directory, or a GGUF file, that does not exist yet
  Precision precision = Precision::int4;  ///< int8 or int4: weights become what loading them so would give;
                                          ///< for GGUF also fp16
  QuantizedFormat format = QuantizedFormat::safetensors;
  int group = 32;                          ///< weights that share a scale: 32, 64 or 128; GGUF knows 32 only
  GroupRange range = GroupRange::minimum;  ///< for safetensors; GGUF files have minima
};

/// Writes a model (docs/formats.md) tensor by tensor, whole or not at all. `on_tensor`, if given, hears of
/// each tensor's name. Throws Error{usage, model, io}.
void quantize_model(const QuantizeOptions& options,
                    const std::function<void(std::string_view)>& on_tensor = {});

}  // namespace galago
