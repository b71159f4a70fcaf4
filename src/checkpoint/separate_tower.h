// Vision towers that a checkpoint only names and that lie in a directory of their own.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace galago::checkpoint {

struct TowerSearch {
  std::optional<std::filesystem::path> found;
  std::string looked_in;  ///< the places, for a message
};

/// Looks for the tower `name` ("openai/clip-vit-large-patch14-336") beside the model's directory, under the
/// name's last part, and in the Hugging Face cache (HF_HUB_CACHE, HF_HOME or ~/.cache/huggingface).
TowerSearch find_tower(const std::filesystem::path& model_directory, const std::string& name);

}  // namespace galago::checkpoint
