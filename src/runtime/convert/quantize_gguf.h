// A decoder's checkpoint written as a GGUF file.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "galago/options.h"

namespace galago::runtime {

/// The checkpoint in `model`: its decoder in the architecture of llama.cpp that computes the same, its vision
/// tower in FP16 in mmproj-FILE beside it. Throws
/// Error{usage, model, io}; nothing is left of a failure.
void write_model_as_gguf(const std::filesystem::path& model, const std::filesystem::path& file,
                         Precision precision, const std::function<void(std::string_view)>& on_tensor);

}  // namespace galago::runtime
