// Reading configuration files and matching them with families.
#include "checkpoint/config_files.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/fail.h"
#include "base/printable.h"

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;

/// Levenshtein's distance: how many letters differ.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

std::string nearest(const std::string& name, const std::vector<std::string>& known) {
  const auto closer = [&name](const std::string& a, const std::string& b) {
    return distance(name, a) < distance(name, b);
  };
  return *std::min_element(known.begin(), known.end(), closer);
}

bool allows(const Json& allowed, const Json* value) {
  return std::any_of(allowed.begin(), allowed.end(),
                     [value](const Json& one) { return value ? one == *value : one.is_null(); });
}

/// "\"llama\" or nothing"
std::string list(const Json& allowed) {
  std::string text;
  for (const Json& one : allowed)
    text += (text.empty() ? "" : " or ") + (one.is_null() ? "nothing" : one.dump());
  return text;
}

/// A sentence about the first condition that does not hold, or nothing.
std::string broken_condition(ConfigFiles& files, const std::map<std::string, Json>& conditions) {
  for (const auto& [source, allowed] : conditions) {
    const ConfigFiles::Found found = files.find(source);
    if (allows(allowed, found.value)) continue;
    return fmt::format("{}: {} is {}, expected {}", found.file, found.key,
                       found.value ? describe_json(*found.value) : "absent", list(allowed));
  }
  return {};
}

/// The names under which config.json presents itself, by the list of a family that they are looked up in.
struct Identity {
  const char* key;  // "architectures", "model_type" or "general.architecture"
  std::vector<std::string> names;
  std::vector<std::string> Family::*known;
};

Identity identify(ConfigFiles& files) {
  const auto gguf = files.find("general.architecture");
  if (gguf.value && gguf.value->is_string()) {
    return {"general.architecture",
            {printable(gguf.value->get_ref<const std::string&>())},
            &Family::gguf_architectures};
  }
  const auto architectures = files.find("architectures");
  if (architectures.value) {
    std::vector<std::string> names;
    if (architectures.value->is_array()) {
      for (const Json& name : *architectures.value) {
        if (name.is_string()) names.push_back(printable(name.get_ref<const std::string&>()));
      }
    }
    if (!names.empty()) return {"architectures", names, &Family::architectures};
  }
  const auto type = files.find("model_type");
  if (!type.value || !type.value->is_string()) {
    fail(ErrorCode::model, "{}: has neither architectures nor model_type, expected the model's name there",
         files.config_path());
  }
  return {"model_type", {printable(type.value->get_ref<const std::string&>())}, &Family::model_types};
}

}  // namespace

ConfigFiles::ConfigFiles(fs::path directory) : directory_(std::move(directory)) {
  if (!fs::exists(directory_ / "config.json")) {
    fail(ErrorCode::model, "{}: config.json is missing, expected a model directory", directory_.string());
  }
  load("config.json");
}

ConfigFiles::ConfigFiles(std::string label, std::map<std::string, Json> files)
    : directory_(std::move(label)), files_(std::move(files)), on_disk_(false) {}

const Json& ConfigFiles::load(const std::string& name) {
  const auto known = files_.find(name);
  if (known != files_.end()) return known->second;
  const fs::path path = directory_ / name;
  Json json = Json::object();
  if (on_disk_ && fs::exists(path)) json = parse_json_file(path);
  if (!json.is_object()) {
    fail(ErrorCode::model, "{}: is {}, expected an object", path.string(), describe_json(json));
  }
  return files_.emplace(name, std::move(json)).first->second;
}

ConfigFiles::Found ConfigFiles::find(const std::string& source) {
  const std::size_t colon = source.find(':');
  const std::string file = colon == source.npos ? "config.json" : source.substr(0, colon);
  const std::string key = colon == source.npos ? source : source.substr(colon + 1);
  const Json& json = load(file);
  // A section of config.json that is no object must not pass for an absent one.
  for (std::size_t dot = key.find('.'); colon == source.npos && dot != key.npos;
       dot = key.find('.', dot + 1)) {
    const Json* section = find_json(json, key.substr(0, dot));
    if (section && !section->is_object() && !section->is_null()) {
      fail(ErrorCode::model, "{}: {} is {}, expected an object", config_path(), key.substr(0, dot),
           describe_json(*section));
    }
  }
  const Json* value = find_json(json, key);
  const bool is_null = value && value->is_null();
  return {is_null ? nullptr : value, path_of(file), key, is_null};
}

void ConfigFiles::supply(const std::string& key, const Json& value) {
  Json& place = files_.at("config.json")[key];
  if (place.is_null()) place = value;
}

const Family& select_family(ConfigFiles& files, const std::vector<Family>& families) {
  const Identity identity = identify(files);
  std::string missed;
  std::vector<std::string> known;
  for (const Family& family : families) {
    for (const std::string& name : family.*identity.known) {
      known.push_back(name);
      if (std::find(identity.names.begin(), identity.names.end(), name) == identity.names.end()) continue;
      missed = broken_condition(files, family.where);
      if (missed.empty()) return family;
    }
  }
  if (!missed.empty()) throw Error(ErrorCode::model, missed);
  const std::string& name = identity.names.front();
  fail(ErrorCode::model, "{}: {} {} is unknown to Galago; the nearest that it knows is {}",
       files.config_path(), identity.key, name, nearest(name, known));
}

void check_requirements(ConfigFiles& files, const Family& family) {
  const std::string broken = broken_condition(files, family.require);
  if (!broken.empty()) throw Error(ErrorCode::model, broken);
}

}  // namespace galago::checkpoint
