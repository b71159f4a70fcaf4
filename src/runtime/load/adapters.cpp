#include "runtime/load/adapters.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/fail.h"
#include "base/printable.h"
#include "checkpoint/lora.h"

namespace galago::runtime {
namespace {

/// The last part of the path, a slash at its end or not.
std::string name_of(const std::filesystem::path& directory) {
  const std::filesystem::path last = directory.filename();
  return (last.empty() ? directory.parent_path().filename() : last).string();
}

model::AdapterShape shape_of(const std::filesystem::path& directory, const std::string& prefix,
                             const checkpoint::LoraBranches& branches) {
  model::AdapterShape adapter{name_of(directory), prefix, {}};
  for (const auto& [matrix, branch] : branches) {
    adapter.branches[matrix] = {branch.rank, static_cast<float>(branch.scale)};
  }
  return adapter;
}

std::string weight_of(const std::string& matrix) {
  return matrix + ".weight";
}

/// Whether a matrix among them is stored in groups, packed as the file's blocks or otherwise. A missing one
/// is told where it is loaded.
bool any_packed(const checkpoint::Checkpoint& checkpoint, const checkpoint::LoraBranches& branches) {
  return std::any_of(branches.begin(), branches.end(), [&](const auto& branch) {
    const auto source = checkpoint.tensors.find(weight_of(branch.first));
    return source != checkpoint.tensors.end() &&
           (source->second.packing || source->second.format().is_grouped());
  });
}

}  // namespace

void add_adapters(ModelFiles& files, std::span<const std::filesystem::path> directories) {
  std::vector<model::AdapterShape>& adapters = files.description.decoder.adapters;
  for (const std::filesystem::path& directory : directories) {
    const std::string name = name_of(directory);
    for (const model::AdapterShape& other : adapters) {
      if (other.name != name) continue;
      fail(ErrorCode::usage, "two adapters are called {}, expected a name for each", printable(name));
    }
    const std::string prefix = "lora." + std::to_string(adapters.size()) + ".";
    adapters.push_back(
        shape_of(directory, prefix, checkpoint::add_lora(files.checkpoint, directory, prefix)));
  }
}

void merge_adapters(ModelFiles& files, std::span<const std::filesystem::path> directories) {
  std::vector<model::AdapterShape>& adapters = files.description.decoder.adapters;
  for (std::size_t i = 0; i < directories.size(); ++i) {
    const std::string prefix = "merged." + std::to_string(i) + ".";
    const checkpoint::LoraBranches branches = checkpoint::add_lora(files.checkpoint, directories[i], prefix);
    if (any_packed(files.checkpoint, branches)) {
      if (directories.size() > 1 || !adapters.empty()) {
        fail(ErrorCode::usage,
             "{}: is for weights that are stored in groups of a few bits and cannot be merged into them, so "
             "it must be the only adapter",
             directories[i].string());
      }
      adapters.push_back(shape_of(directories[i], prefix, branches));
      return;
    }
    for (const auto& [matrix, branch] : branches) {
      files.checkpoint.merges[weight_of(matrix)].push_back(
          {prefix + matrix, branch.rank, static_cast<float>(branch.scale)});
    }
  }
}

std::optional<std::size_t> adapter_of(const model::DecoderShape& decoder, const Request& request) {
  if (!request.adapter) return decoder.adapters.empty() ? std::nullopt : std::optional<std::size_t>(0);
  if (request.adapter->empty()) return std::nullopt;
  std::string known;
  for (std::size_t i = 0; i < decoder.adapters.size(); ++i) {
    if (decoder.adapters[i].name == *request.adapter) return i;
    known.append(known.empty() ? "" : ", ").append(decoder.adapters[i].name);
  }
  fail(ErrorCode::usage, "the adapter {} is not loaded; loaded are: {}", printable(*request.adapter),
       known.empty() ? "none" : known);
}

}  // namespace galago::runtime
