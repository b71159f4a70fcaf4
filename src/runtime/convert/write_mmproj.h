// A vision tower and its projector written as the GGUF file beside a decoder's.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "checkpoint/checkpoint.h"

namespace galago::runtime {

/// Throws ErrorCode::model for a tower, projector or tiling that such files cannot describe, ErrorCode::io
/// where the disk refuses.
void write_mmproj(const checkpoint::Checkpoint& checkpoint, const std::filesystem::path& file,
                  const std::function<void(std::string_view)>& on_tensor);

}  // namespace galago::runtime
