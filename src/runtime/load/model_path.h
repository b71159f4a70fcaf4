// What a caller calls a model, as the path of its files.
#pragma once

#include <filesystem>

#include "checkpoint/model_name.h"

namespace galago::runtime {

/// Empty: the demo model. Else a path, or a name in the stores of other programs (checkpoint/model_name.h).
/// `projector`, if not empty, is the GGUF file of its vision tower in place of the store's. Throws
/// Error{model}.
checkpoint::ModelPath model_path(const std::filesystem::path& model,
                                 const std::filesystem::path& projector = {});

}  // namespace galago::runtime
