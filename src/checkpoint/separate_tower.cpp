// Only the name's parts are used, never as a path: a configuration must not point anywhere on the machine.
#include "checkpoint/separate_tower.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;

fs::path hub_cache() {
  if (const char* cache = std::getenv("HF_HUB_CACHE")) return cache;
  if (const char* home = std::getenv("HF_HOME")) return fs::path(home) / "hub";
  if (const char* home = std::getenv("HOME")) return fs::path(home) / ".cache/huggingface/hub";
  return {};
}

/// The newest snapshot by name of a repository in the hub's cache.
std::optional<fs::path> snapshot_in(const fs::path& repository) {
  std::error_code error;
  std::vector<fs::path> snapshots;
  for (fs::directory_iterator entry(repository / "snapshots", error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_directory(error)) snapshots.push_back(entry->path());
  }
  if (snapshots.empty()) return std::nullopt;
  return *std::max_element(snapshots.begin(), snapshots.end());
}

bool is_plain(const std::string& name) {
  return !name.empty() && name != "." && name != "..";
}

}  // namespace

TowerSearch find_tower(const fs::path& model_directory, const std::string& name) {
  TowerSearch search;
  std::string trimmed = name.substr(0, name.find('\0'));
  while (trimmed.ends_with('/')) trimmed.pop_back();
  const std::size_t slash = trimmed.rfind('/');
  const std::string last = slash == trimmed.npos ? trimmed : trimmed.substr(slash + 1);
  if (!is_plain(last)) return search;

  std::error_code error;
  fs::path model = fs::absolute(model_directory, error).lexically_normal();
  if (!model.has_filename()) model = model.parent_path();
  const fs::path beside = model.parent_path() / last;
  search.looked_in = beside.string();
  if (fs::is_directory(beside, error)) {
    search.found = beside;
    return search;
  }
  const fs::path cache = hub_cache();
  const bool is_hub_name = slash != trimmed.npos && slash > 0 && trimmed.find('/') == slash;
  if (cache.empty() || !is_hub_name) return search;
  const fs::path repository = cache / ("models--" + trimmed.substr(0, slash) + "--" + last);
  search.looked_in += " and " + repository.string();
  search.found = snapshot_in(repository);
  return search;
}

}  // namespace galago::checkpoint
