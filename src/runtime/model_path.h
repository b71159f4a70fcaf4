// What a caller calls a model, as the path of its files.
#pragma once

#include <filesystem>

namespace galago::runtime {

/// Empty: the demo model. Else a path, or a name in the stores of other programs (checkpoint/model_name.h).
/// Throws Error{model}.
std::filesystem::path model_path(const std::filesystem::path& model);

}  // namespace galago::runtime
