// Ollama's store: manifests of named models, and their layers as blobs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/model_name.h"

namespace galago::checkpoint {

/// "name[:tag]", "namespace/name[:tag]" or "host/namespace/name[:tag]". Adds where it looked to `looked`.
/// Throws ErrorCode::model for a manifest that is damaged, and for layers that are not there in full.
std::optional<ModelPath> find_in_ollama_store(const std::string& name, const std::filesystem::path& store,
                                              std::vector<std::string>& looked);

}  // namespace galago::checkpoint
