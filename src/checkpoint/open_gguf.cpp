// Each file is a configuration and weights of its own family; a pair's sections are put together.
#include "checkpoint/open_gguf.h"

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

void add_file(Checkpoint& checkpoint, const fs::path& path) {
  const std::string name = path.string();
  MappedFile file(path);
  const Gguf gguf = read_gguf(file.bytes(), name);
  ConfigFiles files(name, {{"config.json", gguf_config(gguf, file.bytes(), name)}});
  const Family& family = select_family(files, known_families());
  if (!checkpoint.family.empty()) checkpoint.family += " + ";
  checkpoint.family += family.name;
  // Sections of the second file complete the first one's. Not merge_patch(), to which null means to erase.
  const Json config = canonical_config(files, family);
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

}  // namespace

Checkpoint open_gguf(const fs::path& model) {
  Checkpoint checkpoint;
  checkpoint.directory = model;
  checkpoint.config = Json::object();
  add_file(checkpoint, model);
  if (!checkpoint.config.contains("decoder")) {
    fail(ErrorCode::model, "{}: holds a vision tower alone: open the decoder's file, with this one beside it",
         model.string());
  }
  const fs::path projector = find_projector(model);
  if (!projector.empty()) add_file(checkpoint, projector);
  return checkpoint;
}

}  // namespace galago::checkpoint
