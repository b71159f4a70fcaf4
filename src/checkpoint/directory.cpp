// Finding the weight files of a directory and holding the shard index to what the shards contain.
#include "checkpoint/directory.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/fail.h"
#include "base/json.h"
#include "base/printable.h"

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* index_name = "model.safetensors.index.json";

WeightFile open_weight_file(const fs::path& path) {
  WeightFile weights{MappedFile(path), {}};
  weights.tensors = read_safetensors_header(weights.file.bytes(), path.string());
  return weights;
}

/// A shard must lie beside its index: a name with a directory in it could reach any file of the machine.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

/// Shard name -> the tensors that the index places there.
std::map<std::string, std::set<std::string>> read_index(const fs::path& path) {
  const Json index = parse_json_file(path);
  const Json* weight_map = find_json(index, "weight_map");
  if (!weight_map || !weight_map->is_object() || weight_map->empty()) {
    fail(ErrorCode::model, "{}: weight_map is missing or empty, expected the shard of every tensor",
         path.string());
  }
  std::map<std::string, std::set<std::string>> shards;
  for (const auto& [tensor, shard] : weight_map->items()) {
    if (!shard.is_string()) {
      fail(ErrorCode::model, "{}: the shard of tensor {} is {}, expected a file name", path.string(),
           printable(tensor), describe_json(shard));
    }
    const auto& name = shard.get_ref<const std::string&>();
    if (!is_plain_file_name(name)) {
      fail(ErrorCode::model, "{}: the shard name \"{}\" is refused: expected a file beside the index",
           path.string(), printable(name));
    }
    shards[name].insert(tensor);
  }
  return shards;
}

std::vector<WeightFile> open_shards(const fs::path& directory) {
  const std::string index = (directory / index_name).string();
  std::vector<WeightFile> files;
  for (const auto& [name, promised] : read_index(index)) {
    const fs::path path = directory / name;
    if (!fs::exists(path)) {
      fail(ErrorCode::model, "{}: the shard {} is not there, although {} names it: download it again",
           directory.string(), name, index_name);
    }
    WeightFile shard = open_weight_file(path);
    std::set<std::string> missing = promised;
    for (const TensorEntry& tensor : shard.tensors) {
      if (missing.erase(tensor.name) == 0) {
        fail(ErrorCode::model, "{}: holds the tensor {}, which {} does not place there", path.string(),
             printable(tensor.name), index_name);
      }
    }
    if (!missing.empty()) {
      fail(ErrorCode::model, "{}: lacks the tensor {}, which {} places there", path.string(),
           printable(*missing.begin()), index_name);
    }
    files.push_back(std::move(shard));
  }
  return files;
}

/// No safetensors: says what there is instead and what to do.
[[noreturn]] void fail_without_weights(const fs::path& directory, bool has_adapter) {
  if (fs::is_empty(directory))
    fail(ErrorCode::model, "{}: the directory is empty, expected a model", directory.string());
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("pytorch_model") && name.ends_with(".bin")) {
      fail(ErrorCode::model,
           "{}: has {} but no *.safetensors: convert it with transformers "
           "(save_pretrained writes safetensors)",
           directory.string(), name);
    }
  }
  if (has_adapter) {
    fail(ErrorCode::model, "{}: holds a LoRA adapter, expected a whole model", directory.string());
  }
  fail(ErrorCode::model, "{}: has no *.safetensors, expected a model directory with weights",
       directory.string());
}

std::vector<WeightFile> open_all(const fs::path& directory) {
  std::vector<fs::path> paths;
  bool has_adapter = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() != ".safetensors") continue;
    const bool adapter = entry.path().filename() == "adapter_model.safetensors";
    has_adapter = has_adapter || adapter;
    if (!adapter) paths.push_back(entry.path());
  }
  if (paths.empty()) fail_without_weights(directory, has_adapter);
  std::sort(paths.begin(), paths.end());

  std::vector<WeightFile> files;
  files.reserve(paths.size());
  for (const fs::path& path : paths) files.push_back(open_weight_file(path));
  return files;
}

void check_unique(const std::vector<WeightFile>& files) {
  std::map<std::string_view, const WeightFile*> holder;
  for (const WeightFile& weights : files) {
    for (const TensorEntry& tensor : weights.tensors) {
      const auto [place, is_new] = holder.emplace(tensor.name, &weights);
      if (!is_new) {
        fail(ErrorCode::model, "{}: the tensor {} is also in {}", weights.file.path().string(),
             printable(tensor.name), place->second->file.path().filename().string());
      }
    }
  }
}

}  // namespace

void check_is_directory(const fs::path& directory) {
  std::error_code error;
  const fs::file_status status = fs::status(directory, error);
  if (!fs::exists(status)) {
    fail(ErrorCode::model, "{}: is not there, expected a model directory", directory.string());
  }
  if (!fs::is_directory(status)) {
    fail(ErrorCode::model, "{}: is a file, expected a model directory or a .gguf file", directory.string());
  }
  fs::directory_iterator readable(directory, error);
  if (error) fail(ErrorCode::model, "{}: cannot be read: {}", directory.string(), error.message());
}

std::vector<WeightFile> open_weight_files(const fs::path& directory) {
  check_is_directory(directory);
  std::vector<WeightFile> files;
  if (fs::exists(directory / "model.safetensors")) {
    files.push_back(open_weight_file(directory / "model.safetensors"));
  } else if (fs::exists(directory / index_name)) {
    files = open_shards(directory);
  } else {
    files = open_all(directory);
  }
  check_unique(files);
  return files;
}

}  // namespace galago::checkpoint
