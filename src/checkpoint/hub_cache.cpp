#include "checkpoint/hub_cache.h"

#include <algorithm>

#include "base/fail.h"
#include "base/file_map.h"
#include "base/printable.h"

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> entries_of(const fs::path& directory) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    entries.push_back(entry->path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool is_commit(const std::string& text) {
  return text.size() >= 7 && text.size() <= 64 &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// What refs/main names; empty where there is no such file.
fs::path main_snapshot(const fs::path& repository) {
  const fs::path reference = repository / "refs" / "main";
  std::error_code error;
  if (!fs::exists(reference, error)) return {};
  constexpr std::size_t longest = 256;
  std::string commit = read_text_file(reference, longest);
  commit.erase(std::find_if(commit.rbegin(), commit.rend(), [](char c) { return c > ' '; }).base(),
               commit.end());
  if (!is_commit(commit)) {
    fail(ErrorCode::model, "{}: found \"{}\", expected the hash of a snapshot", reference.string(),
         printable(commit));
  }
  return repository / "snapshots" / commit;
}

fs::path choose_snapshot(const std::string& name, const fs::path& repository) {
  const fs::path main = main_snapshot(repository);
  std::error_code error;
  if (!main.empty() && fs::is_directory(main, error)) return main;
  const std::vector<fs::path> all = entries_of(repository / "snapshots");
  if (all.size() == 1 && main.empty()) return all.front();
  fail(ErrorCode::model, "{}: {} has {} snapshots and {}; fetch the model again with \"hf download {}\"",
       name, repository.string(), all.size(),
       main.empty() ? "no refs/main that names one" : "not the one that refs/main names", name);
}

/// Files are links into blobs; one that leads nowhere was not fetched to its end.
void check_complete(const std::string& name, const fs::path& snapshot) {
  std::error_code error;
  for (const fs::path& file : entries_of(snapshot)) {
    if (fs::exists(file, error)) continue;
    fail(ErrorCode::model, "{}: {} is incomplete: {} is missing; fetch it again with \"hf download {}\"",
         name, snapshot.string(), printable(file.filename().string()), name);
  }
}

/// The one of `files`; empty where there is none.
fs::path only_one(const std::string& name, const std::vector<fs::path>& files, const char* kind) {
  if (files.empty()) return {};
  if (files.size() == 1) return files.front();
  std::string names;
  for (const fs::path& file : files) {
    if (!names.empty()) names += ", ";
    names += printable(file.filename().string());
  }
  fail(ErrorCode::model, "{}: {} has {} {} files ({}); name one of them by its path", name,
       files.front().parent_path().string(), files.size(), kind, names);
}

ModelPath files_of(const std::string& name, const fs::path& snapshot) {
  std::error_code error;
  if (fs::exists(snapshot / "config.json", error)) return {snapshot, {}};
  std::vector<fs::path> models;
  std::vector<fs::path> projectors;
  for (const fs::path& file : entries_of(snapshot)) {
    if (file.extension() != ".gguf") continue;
    const bool is_projector = file.filename().string().find("mmproj") != std::string::npos;
    (is_projector ? projectors : models).push_back(file);
  }
  if (models.empty()) {
    fail(ErrorCode::model,
         "{}: {} is incomplete: it has neither a config.json nor a GGUF file; fetch it again "
         "with \"hf download {}\"",
         name, snapshot.string(), name);
  }
  return {only_one(name, models, "GGUF"), only_one(name, projectors, "mmproj GGUF")};
}

}  // namespace

std::optional<ModelPath> find_in_hub_cache(const std::string& name, const fs::path& cache,
                                           std::vector<std::string>& looked) {
  const std::size_t slash = name.find('/');
  const bool is_hub_name = slash != std::string::npos && name.find('/', slash + 1) == std::string::npos &&
                           name.find(':') == std::string::npos;
  if (cache.empty() || !is_hub_name) return std::nullopt;
  std::string directory = "models--";
  directory.append(name, 0, slash).append("--").append(name, slash + 1);
  const fs::path repository = cache / directory;
  looked.push_back(repository.string());
  std::error_code error;
  if (!fs::is_directory(repository, error)) return std::nullopt;
  const fs::path snapshot = choose_snapshot(name, repository);
  check_complete(name, snapshot);
  return files_of(name, snapshot);
}

}  // namespace galago::checkpoint
