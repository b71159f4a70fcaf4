// The JSON files beside the weights, read when first asked for, and the choice of the family by them.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "checkpoint/family.h"

namespace galago::checkpoint {

class ConfigFiles {
 public:
  /// Reads config.json; throws ErrorCode::model when it is missing, malformed or no object.
  explicit ConfigFiles(std::filesystem::path directory);
  /// Files that are not on disk, by name, config.json among them; `label` takes the directory's place in
  /// messages.
  ConfigFiles(std::string label, std::map<std::string, Json> files);

  struct Found {
    const Json* value = nullptr;  ///< null where the source is absent or JSON's null
    std::string file;             ///< path, for messages
    std::string key;              ///< dotted, without the file
    bool is_null = false;         ///< the source is there and null
  };
  /// The value of a source: "key" of config.json, or "file.json:key". A file that is not there has no keys.
  Found find(const std::string& source);

  /// Puts `value` at a top-level key of config.json when that key is absent or null.
  void supply(const std::string& key, const Json& value);

  const std::filesystem::path& directory() const { return directory_; }
  std::string config_path() const { return path_of("config.json"); }

 private:
  const Json& load(const std::string& name);
  /// For messages: what is not on disk has the label's name.
  std::string path_of(const std::string& name) const {
    return on_disk_ ? (directory_ / name).string() : directory_.string();
  }

  std::filesystem::path directory_;
  std::map<std::string, Json> files_;
  bool on_disk_ = true;
};

/// The family whose description fits config.json. Throws ErrorCode::model naming the architecture that was
/// found and the nearest known one, or the condition that it misses.
const Family& select_family(ConfigFiles& files, const std::vector<Family>& families);

/// Throws ErrorCode::model where a value is outside what the family computes.
void check_requirements(ConfigFiles& files, const Family& family);

}  // namespace galago::checkpoint
