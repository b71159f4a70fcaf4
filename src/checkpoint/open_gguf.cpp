// Each file is a configuration and weights of its own family; a pair's sections are put together.
#include "checkpoint/open_gguf.h"

#include <array>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "checkpoint/canonical_config.h"
#include "checkpoint/config_files.h"
#include "checkpoint/gguf.h"
#include "checkpoint/gguf_config.h"

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;

/// The only mmproj*.gguf beside the model, or nothing where there is none or more than one to choose from.
fs::path find_projector(const fs::path& model) {
  std::vector<fs::path> found;
  const fs::path directory = model.has_parent_path() ? model.parent_path() : fs::path(".");
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const fs::path name = entry.path().filename();
    if (name.string().starts_with("mmproj") && name.extension() == ".gguf" && name != model.filename()) {
      found.push_back(entry.path());
    }
  }
  return found.size() == 1 ? found.front() : fs::path();
}

/// `decoder` is the architecture of the file that this one completes; empty for the first.
void add_file(Checkpoint& checkpoint, const fs::path& path, const std::string& decoder) {
  const std::string name = path.string();
  MappedFile file(path);
  const Gguf gguf = read_gguf(file.bytes(), name);
  Json stated = gguf_config(gguf, file.bytes(), name);
  if (!decoder.empty()) stated["gguf"]["decoder"] = decoder;
  ConfigFiles files(name, {{"config.json", std::move(stated)}});
  const Family& family = select_family(files, known_families());
  if (!checkpoint.family.empty()) checkpoint.family += " + ";
  checkpoint.family += family.name;
  // Sections of the second file complete the first one's. Not merge_patch(), to which null means to erase.
  const Json config = canonical_config(files, family);
  if (!decoder.empty() && !config.contains("tower")) {
    fail(ErrorCode::model, "{}: holds no vision tower, expected the mmproj file of {}", name,
         checkpoint.directory.string());
  }
  for (const auto& [section, values] : config.items()) {
    if (values.is_object()) {
      checkpoint.config[section].update(values);
    } else {
      checkpoint.config[section] = values;
    }
  }
  for (const TensorEntry& entry : gguf.tensors) {
    add_tensor(checkpoint, family, {checkpoint.files.size(), entry, entry.shape, {}}, name);
  }
  checkpoint.files.push_back(std::move(file));
}

/// What the first file says it is, which its family was found by.
std::string architecture(const Checkpoint& checkpoint) {
  const MappedFile& file = checkpoint.files.front();
  const std::string name = file.path().string();
  const Gguf gguf = read_gguf(file.bytes(), name);
  const std::string_view* found = gguf.find_string("general.architecture", name);
  return found == nullptr ? std::string() : std::string(*found);
}

}  // namespace

bool is_gguf(const fs::path& path) {
  if (!fs::is_regular_file(path)) return false;
  std::array<char, 4> start{};
  return std::ifstream(path, std::ios::binary).read(start.data(), start.size()) &&
         std::string_view(start.data(), start.size()) == "GGUF";
}

Checkpoint open_gguf(const fs::path& model, const fs::path& projector) {
  Checkpoint checkpoint;
  checkpoint.directory = model;
  checkpoint.config = Json::object();
  add_file(checkpoint, model, {});
  if (!checkpoint.config.contains("decoder")) {
    fail(ErrorCode::model, "{}: holds a vision tower alone: open the decoder's file, with this one beside it",
         model.string());
  }
  const fs::path second = projector.empty() ? find_projector(model) : projector;
  if (second.empty()) return checkpoint;
  add_file(checkpoint, second, architecture(checkpoint));
  return checkpoint;
}

}  // namespace galago::checkpoint
