// The adapters that a model is loaded with, and the one that a request goes through.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>

#include "galago/engine.h"
#include "runtime/model_files.h"

namespace galago::runtime {

/// Puts PEFT adapters beside the model's own tensors. Throws Error{model}, or Error{usage} for two of one
/// name.
void add_adapters(ModelFiles& files, std::span<const std::filesystem::path> directories);

/// The decoder's adapter for a request, if any. Throws Error{usage} for a name that is not loaded.
std::optional<std::size_t> adapter_of(const model::DecoderShape& decoder, const Request& request);

}  // namespace galago::runtime
