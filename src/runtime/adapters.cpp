#include "runtime/adapters.h"

#include <string>

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

}  // namespace

void add_adapters(ModelFiles& files, std::span<const std::filesystem::path> directories) {
  std::vector<model::AdapterShape>& adapters = files.description.decoder.adapters;
  for (const std::filesystem::path& directory : directories) {
    model::AdapterShape adapter{name_of(directory), "lora." + std::to_string(adapters.size()) + ".", {}};
    for (const model::AdapterShape& other : adapters) {
      if (other.name != adapter.name) continue;
      fail(ErrorCode::usage, "two adapters are called {}, expected a name for each", printable(adapter.name));
    }
    for (const auto& [matrix, branch] : checkpoint::add_lora(files.checkpoint, directory, adapter.prefix)) {
      adapter.branches[matrix] = {branch.rank, static_cast<float>(branch.scale)};
    }
    adapters.push_back(std::move(adapter));
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
