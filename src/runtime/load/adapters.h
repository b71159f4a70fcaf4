// The adapters that a model is loaded with, and the one that a request goes through.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>

#include "galago/engine.h"
#include "runtime/load/model_files.h"

namespace galago::runtime {

/// Puts PEFT adapters beside the model's own tensors. Throws Error{model}, or Error{usage} for two of one
/// name.
void add_adapters(ModelFiles& files, std::span<const std::filesystem::path> directories);

/// Adds PEFT adapters to the model's own matrices while those are loaded. An adapter of a matrix that is
/// stored in groups of a few bits (GGUF's blocks, too) stays beside the weights, for all requests, because
/// adding would round them anew; then it must be the only one. Throws like add_adapters(), after which it is
/// called.
void merge_adapters(ModelFiles& files, std::span<const std::filesystem::path> directories);

/// The decoder's adapter for a request, if any. Throws Error{usage} for a name that is not loaded.
std::optional<std::size_t> adapter_of(const model::DecoderShape& decoder, const Request& request);

}  // namespace galago::runtime
