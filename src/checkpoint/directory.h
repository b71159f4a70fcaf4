// A checkpoint directory: which weight files belong to it, each mapped and its header read.
#pragma once

#include <filesystem>
#include <vector>

#include "base/file_map.h"
#include "checkpoint/safetensors.h"

namespace galago::checkpoint {

struct WeightFile {
  MappedFile file;
  std::vector<TensorEntry> tensors;
};

/// Opens model.safetensors, or the shards of model.safetensors.index.json, or else every *.safetensors in the
/// directory. Tensor names are unique over the files. Throws ErrorCode::model naming what is missing or
/// contradictory.
std::vector<WeightFile> open_weight_files(const std::filesystem::path& directory);

/// Throws ErrorCode::model unless `directory` is one that can be read.
void check_is_directory(const std::filesystem::path& directory);

}  // namespace galago::checkpoint
