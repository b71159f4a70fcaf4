// Applying a family's configuration rules.
#include "checkpoint/canonical_config.h"

#include <map>

#include "base/fail.h"

namespace galago::checkpoint {
namespace {

using Values = std::map<std::string, Json>;  // by canonical key

/// The canonical word for a foreign value ("3" stands for the number 3 in a description).
Json translate(const Json& values, const Json& found, const std::string& label) {
  const auto word = values.find(found.is_string() ? found.get<std::string>() : found.dump());
  if (word != values.end()) return *word;
  std::string known;
  for (const auto& [name, canonical] : values.items()) known += (known.empty() ? "" : " or ") + name;
  fail(ErrorCode::model, "{} is {}, expected {}", label, describe_json(found), known);
}

/// The value from the files or the rule's constant; nothing where the rule derives it from other values.
std::optional<Json> look_up(ConfigFiles& files, const std::string& key, const ConfigRule& rule) {
  for (const std::string& source : rule.from) {
    const ConfigFiles::Found found = files.find(source);
    if (found.is_null && rule.if_null) return checked_value(key, *rule.if_null, key);
    if (!found.value) continue;
    const std::string label = found.file + ": " + found.key;
    const Json value = rule.values.is_null() ? *found.value : translate(rule.values, *found.value, label);
    return checked_value(key, value, label);
  }
  if (rule.fallback) return checked_value(key, *rule.fallback, key);
  if (rule.same_as.empty() && rule.quotient.empty()) {
    fail(ErrorCode::model, "{}: {} is missing", files.config_path(),
         rule.from.empty() ? key : rule.from.front());
  }
  return std::nullopt;
}

Json derive(const Values& values, const std::string& key, const ConfigRule& rule, const std::string& file) {
  if (!rule.same_as.empty()) return checked_value(key, values.at(rule.same_as), key);
  const auto dividend = values.at(rule.quotient.at(0)).get<std::int64_t>();
  const auto divisor = values.at(rule.quotient.at(1)).get<std::int64_t>();
  if (dividend % divisor != 0) {
    fail(ErrorCode::model, "{}: {} is not given, and {} = {} is not a multiple of {} = {}", file, key,
         rule.quotient[0], dividend, rule.quotient[1], divisor);
  }
  return checked_value(key, dividend / divisor, key);
}

/// The layers that make the features: hidden state 0 is the embeddings, negative numbers count from the last.
Json layers_run(const Values& values, const std::string& file) {
  const auto n_layers = values.at("tower.n_layers").get<std::int64_t>();
  const auto layer = values.at("tower.feature_layer").get<std::int64_t>();
  if (layer < -n_layers - 1 || layer > n_layers) {
    fail(ErrorCode::model, "{}: the feature layer is {}, expected one of the tower's {} layers", file, layer,
         n_layers);
  }
  return layer < 0 ? n_layers + 1 + layer : layer;
}

}  // namespace

Json canonical_config(ConfigFiles& files, const Family& family) {
  check_requirements(files, family);
  Values values;
  for (const auto& [key, rule] : family.config) {
    if (auto value = look_up(files, key, rule)) values.emplace(key, std::move(*value));
  }
  // Derived values rest on looked-up ones only, so one more round settles them.
  const Values looked_up = values;
  for (const auto& [key, rule] : family.config) {
    if (!looked_up.contains(key)) values.emplace(key, derive(looked_up, key, rule, files.config_path()));
  }
  if (values.contains("tower.feature_layer"))
    values["tower.n_layers_run"] = layers_run(values, files.config_path());

  Json config = Json::object();
  for (auto& [key, value] : values) {
    const std::size_t dot = key.find('.');
    if (dot == key.npos) {
      config[key] = std::move(value);
    } else {
      config[key.substr(0, dot)][key.substr(dot + 1)] = std::move(value);
    }
  }
  return config;
}

}  // namespace galago::checkpoint
