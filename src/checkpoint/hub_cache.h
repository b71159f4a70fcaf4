// The Hugging Face hub's cache: models--ORG--NAME with snapshots of links into blobs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/model_name.h"

namespace galago::checkpoint {

/// The snapshot of "org/name" that refs/main names, or the only one. Adds where it looked to `looked`. Throws
/// ErrorCode::model for a snapshot that is incomplete or leaves a choice.
std::optional<ModelPath> find_in_hub_cache(const std::string& name, const std::filesystem::path& cache,
                                           std::vector<std::string>& looked);

}  // namespace galago::checkpoint
