// A model's name to its files: a path, "org/name" in the Hugging Face cache, "name:tag" in Ollama's store.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace galago::checkpoint {

/// Where other programs keep the models that they fetched.
struct ModelStores {
  std::filesystem::path hub;                  ///< models--ORG--NAME/snapshots/...
  std::vector<std::filesystem::path> ollama;  ///< manifests/..., blobs/...
};

/// As the environment says: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, OLLAMA_MODELS, HOME.
ModelStores model_stores();

struct ModelPath {
  std::filesystem::path model;      ///< a directory, or a GGUF file
  std::filesystem::path projector;  ///< the GGUF file of the vision tower that belongs to it; empty: none
};

/// A path that exists is taken as it is. Throws ErrorCode::model for a name that is found nowhere, telling
/// where was looked and how to get the model, and for one whose files are incomplete or damaged.
ModelPath find_model(const std::string& name, const ModelStores& stores);

}  // namespace galago::checkpoint
