// A model in one GGUF file, or in two: the decoder's, and an "mmproj" with the vision tower and the
// projector.
#pragma once

#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "checkpoint/family.h"

namespace galago::checkpoint {

/// Whether this is a file that begins as GGUF files do, whatever it is called.
bool is_gguf(const std::filesystem::path& path);

/// Opens `model` with `projector`, or where that is empty with the only mmproj*.gguf beside it if there is
/// one. Throws ErrorCode::model, or ErrorCode::io for files that cannot be read.
Checkpoint open_gguf(const std::filesystem::path& model, const std::filesystem::path& projector = {});

/// Enters a stored tensor as what the family says it is: canonical ones, ignored, or unknown. `file` is for
/// messages. Throws ErrorCode::model.
void add_tensor(Checkpoint& checkpoint, const Family& family, const TensorSource& stored,
                const std::string& file);

}  // namespace galago::checkpoint
