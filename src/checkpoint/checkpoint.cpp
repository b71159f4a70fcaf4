// Opening a checkpoint: configuration files, family, canonical configuration, weight files, names.
#include "checkpoint/checkpoint.h"

#include <utility>

#include "base/fail.h"
#include "base/printable.h"
#include "checkpoint/canonical_config.h"
#include "checkpoint/config_files.h"
#include "checkpoint/directory.h"
#include "checkpoint/family.h"
#include "checkpoint/open_gguf.h"
#include "checkpoint/quantisation.h"
#include "checkpoint/separate_tower.h"
#include "checkpoint/tensor_names.h"

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;

/// The name of the separate tower in config.json, or nothing where the family has none.
std::string tower_name(ConfigFiles& files, const std::string& key) {
  if (key.empty()) return {};
  const ConfigFiles::Found found = files.find(key);
  if (!found.value) return {};
  if (!found.value->is_string()) {
    fail(ErrorCode::model, "{}: {} is {}, expected a string", found.file, key, describe_json(*found.value));
  }
  return found.value->get<std::string>();
}

/// The row of a table of known towers whose name, or last part of it, is `name`'s.
const Json* row_of(const Json& table, const std::string& name) {
  const std::string last = name.substr(name.rfind('/') + 1);
  for (const auto& [known, row] : table.items()) {
    if (known.substr(known.rfind('/') + 1) == last) return &row;
  }
  return nullptr;
}

/// Fills in the section of config.json that published files of the family leave out.
void supply_section(ConfigFiles& files, const Family& family) {
  if (family.supply_at.empty() || files.find(family.supply_at).value) return;
  if (family.supply_name_by.empty()) {
    files.supply(family.supply_at, family.supply);
    return;
  }
  const std::string name = tower_name(files, family.supply_name_by);
  if (name.empty()) {
    fail(ErrorCode::model, "{}: neither {} nor {} is there, expected the vision tower", files.config_path(),
         family.supply_at, family.supply_name_by);
  }
  if (const Json* row = row_of(family.supply, name)) {
    files.supply(family.supply_at, *row);
    return;
  }
  const TowerSearch search = find_tower(files.directory(), name);
  if (!search.found) {
    fail(ErrorCode::model, "{}: the vision tower {} is unknown to Galago and not in {}", files.config_path(),
         printable(name), search.looked_in);
  }
  ConfigFiles tower(*search.found);
  // A whole CLIP has a part for each of its towers, a vision model alone is the part.
  const ConfigFiles::Found part = tower.find("vision_config");
  files.supply(family.supply_at, part.value ? *part.value : parse_json_file(tower.config_path()));
}

/// A layer beyond what the configuration counts is no tensor of this model.
bool is_within_layers(const CanonicalName& tensor, const Json& config) {
  if (!tensor.layer) return true;
  const Json* n_layers = find_json(config, tensor.name.substr(0, tensor.name.find('.')) + ".n_layers");
  return !n_layers || *tensor.layer < n_layers->get<std::int64_t>();
}

void add_weights(Checkpoint& checkpoint, const Family& family, const fs::path& directory,
                 const std::optional<Quantisation>& quantisation) {
  std::vector<TensorSource> stored;
  for (WeightFile& weights : open_weight_files(directory)) {
    for (const TensorEntry& entry : weights.tensors) {
      stored.push_back({checkpoint.files.size(), entry, entry.shape, {}});
    }
    checkpoint.files.push_back(std::move(weights.file));
  }
  if (quantisation) {
    JoinedTensors joined = join_quantised(std::move(stored), *quantisation, checkpoint.files);
    stored = std::move(joined.tensors);
    for (TensorEntry& entry : joined.descriptions) {
      checkpoint.ignored.push_back({std::move(entry), "says how the matrix beside it is packed"});
    }
  }
  for (const TensorSource& source : stored) {
    add_tensor(checkpoint, family, source, checkpoint.files[source.file].path().string());
  }
}

bool has_part(const Checkpoint& checkpoint, const std::string& prefix) {
  const auto first = checkpoint.tensors.lower_bound(prefix);
  return first != checkpoint.tensors.end() && first->first.starts_with(prefix);
}

/// Adds the tower's own directory where the checkpoint has no weights for it.
void add_separate_tower(Checkpoint& checkpoint, const Family& family, ConfigFiles& files) {
  const std::string name = tower_name(files, family.tower_named_by);
  if (name.empty() || has_part(checkpoint, "tower.")) return;
  const TowerSearch search = find_tower(checkpoint.directory, name);
  if (!search.found) {
    fail(ErrorCode::model, "{}: has no weights of the vision tower {}; looked in {}: put its directory there",
         checkpoint.directory.string(), printable(name), search.looked_in);
  }
  // Nothing but the tower may come from there: a decoder's tensor would silently complete a damaged model.
  Family tower_only = family;
  std::erase_if(tower_only.tensors, [](const auto& rule) { return !rule.second.starts_with("tower."); });
  std::erase_if(tower_only.split,
                [](const auto& rule) { return !rule.second.parts.front().tensor.starts_with("tower."); });
  add_weights(checkpoint, tower_only, *search.found, std::nullopt);
}

/// Where the configuration does not say whether the output is tied to the embeddings, it is if it has no
/// tensor of its own.
void settle_tied_embeddings(Checkpoint& checkpoint) {
  Json& tied = checkpoint.config["decoder"]["tied_embeddings"];
  if (tied.is_null()) tied = !checkpoint.tensors.contains("decoder.output.weight");
}

}  // namespace

void add_tensor(Checkpoint& checkpoint, const Family& family, const TensorSource& stored,
                const std::string& file) {
  const std::string& name = stored.entry.name;
  if (const auto reason = reason_to_refuse(family, name)) {
    fail(ErrorCode::model, "{}: has the tensor {}: {}", file, printable(name), *reason);
  }
  std::optional<std::string> unused;
  bool used = false;
  for (CanonicalTensor& tensor : canonical_tensors(family, stored, checkpoint.config, file)) {
    if (!is_within_layers(tensor.name, checkpoint.config)) continue;
    unused = reason_unused(family, tensor.name, checkpoint.config);
    if (unused) continue;
    used = true;
    const auto [place, is_new] = checkpoint.tensors.emplace(tensor.name.name, std::move(tensor.source));
    if (!is_new) {
      fail(ErrorCode::model, "{}: the tensors {} and {} are both {}", checkpoint.directory.string(),
           printable(place->second.entry.name), printable(name), place->first);
    }
  }
  if (used) return;
  const auto reason = unused ? unused : reason_to_ignore(family, name);
  if (reason) {
    checkpoint.ignored.push_back({stored.entry, *reason});
  } else {
    checkpoint.unknown.push_back(stored.entry);
  }
}

Checkpoint open_checkpoint(const fs::path& directory, const fs::path& projector) {
  try {
    const bool is_file = fs::is_regular_file(directory);
    if (is_file && (directory.extension() == ".gguf" || is_gguf(directory))) {
      return open_gguf(directory, projector);
    }
    if (!projector.empty()) {
      fail(ErrorCode::usage,
           "{}: only a model in a GGUF file has its vision tower in another file, {} is none",
           projector.string(), directory.string());
    }
    check_is_directory(directory);
    if (fs::is_empty(directory)) {
      fail(ErrorCode::model, "{}: the directory is empty, expected a model", directory.string());
    }
    ConfigFiles files(directory);
    const Family& family = select_family(files, known_families());
    supply_section(files, family);

    Checkpoint checkpoint;
    checkpoint.family = family.name;
    checkpoint.directory = directory;
    checkpoint.config = canonical_config(files, family);
    add_weights(checkpoint, family, directory, read_quantisation(files));
    add_separate_tower(checkpoint, family, files);
    settle_tied_embeddings(checkpoint);
    return checkpoint;
  } catch (const Error& error) {
    // A part of the model that cannot be read is a model that cannot be loaded.
    if (error.code() == ErrorCode::io) throw Error(ErrorCode::model, error.what());
    throw;
  } catch (const fs::filesystem_error& error) {
    fail(ErrorCode::model, "{}: {}", directory.string(), error.code().message());
  }
}

}  // namespace galago::checkpoint
