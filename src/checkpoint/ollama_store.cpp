#include "checkpoint/ollama_store.h"

#include <algorithm>

#include "base/fail.h"
#include "base/json.h"
#include "base/printable.h"

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* model_layer = "application/vnd.ollama.image.model";
constexpr const char* projector_layer = "application/vnd.ollama.image.projector";

/// registry.ollama.ai and library are what a short name leaves out, latest the tag; empty: no such name.
fs::path manifest_of(const std::string& name) {
  const std::size_t colon = name.rfind(':');
  const bool has_tag = colon != std::string::npos && name.find('/', colon) == std::string::npos;
  const std::string tag = has_tag ? name.substr(colon + 1) : "latest";
  const std::string path = name.substr(0, has_tag ? colon : name.size());
  const auto n_slashes = std::count(path.begin(), path.end(), '/');
  if (tag.empty() || tag.front() == '.' || path.find(':') != std::string::npos || n_slashes > 2) return {};
  fs::path manifest = "manifests";
  if (n_slashes < 2) manifest /= "registry.ollama.ai";
  if (n_slashes < 1) manifest /= "library";
  return manifest / path / tag;
}

/// The file of a layer. Its digest is foreign: nothing but hexadecimal digits gets into the path.
fs::path blob_of(const Json& layer, const fs::path& store, const std::string& manifest) {
  const std::string digest = get_string(layer, "digest", manifest);
  const std::string prefix = "sha256:";
  const std::string hash = digest.substr(std::min(prefix.size(), digest.size()));
  if (!digest.starts_with(prefix) || hash.size() != 64 ||
      hash.find_first_not_of("0123456789abcdef") != std::string::npos) {
    fail(ErrorCode::model, "{}: a layer's digest is \"{}\", expected sha256: and 64 hexadecimal digits",
         manifest, printable(digest));
  }
  const fs::path blob = store / "blobs" / ("sha256-" + hash);
  constexpr std::int64_t largest = std::int64_t{1} << 50;
  const std::int64_t stated = get_int(layer, "size", 1, largest, manifest);
  std::error_code error;
  const std::uintmax_t size = fs::file_size(blob, error);
  if (error || size != static_cast<std::uintmax_t>(stated)) {
    fail(ErrorCode::model,
         "{}: {} is {}, the manifest says {} bytes; fetch the model again with \"ollama pull\"", manifest,
         blob.string(), error ? std::string("missing") : fmt::format("of {} bytes", size), stated);
  }
  return blob;
}

/// The file of the only layer of this type; empty where there is none.
fs::path layer_of_type(const Json& layers, const std::string& type, const fs::path& store,
                       const std::string& manifest) {
  fs::path found;
  for (const Json& layer : layers) {
    if (!layer.is_object() || layer.value("mediaType", Json()) != type) continue;
    if (!found.empty()) fail(ErrorCode::model, "{}: there are several layers of the type {}", manifest, type);
    found = blob_of(layer, store, manifest);
  }
  return found;
}

}  // namespace

std::optional<ModelPath> find_in_ollama_store(const std::string& name, const fs::path& store,
                                              std::vector<std::string>& looked) {
  const fs::path relative = manifest_of(name);
  if (store.empty() || relative.empty()) return std::nullopt;
  const fs::path path = store / relative;
  looked.push_back(path.string());
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  const std::string manifest = path.string();
  constexpr std::size_t largest = std::size_t{1} << 20;
  const Json json = parse_json_file(path, largest);
  const Json* layers = find_json(json, "layers");
  if (layers == nullptr || !layers->is_array()) {
    fail(ErrorCode::model, "{}: layers is missing or no array", manifest);
  }
  const fs::path model = layer_of_type(*layers, model_layer, store, manifest);
  if (model.empty()) {
    fail(ErrorCode::model,
         "{}: there is no layer of the type {}; only models in GGUF are read from this store", manifest,
         model_layer);
  }
  return ModelPath{model, layer_of_type(*layers, projector_layer, store, manifest)};
}

}  // namespace galago::checkpoint
