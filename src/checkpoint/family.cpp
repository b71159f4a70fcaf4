// Reading family descriptions: blocks merged, prefix alternatives written out, unknown keys refused.
#include "checkpoint/family.h"

#include <algorithm>
#include <initializer_list>

#include "base/fail.h"

namespace galago {

std::span<const EmbeddedFile> family_files();  // by galago_embed

namespace checkpoint {
namespace {

using Prefixes = std::map<std::string, std::vector<std::string>>;
using Strings = std::vector<std::string>;

bool is_block(std::string_view name) {
  return name.find("/blocks/") != name.npos;
}

/// A key that nobody reads is a slip of the pen.
void check_keys(const Json& object, std::initializer_list<std::string_view> known, std::string_view where) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      fail(ErrorCode::internal, "{}: the key {} is unknown", where, key);
    }
  }
}

/// "{decoder}norm" -> one text per alternative of the prefix; {i} stays.
Strings expand(const std::string& text, const Prefixes& prefixes, std::string_view where) {
  const std::size_t open = text.find('{');
  const std::size_t close = text.find('}', open);
  if (open == text.npos || close == text.npos) return {text};
  const std::string name = text.substr(open + 1, close - open - 1);
  if (name == "i") return {text};
  const auto found = prefixes.find(name);
  if (found == prefixes.end()) fail(ErrorCode::internal, "{}: no prefix for {{{}}}", where, name);
  Strings texts;
  for (const std::string& prefix : found->second) {
    texts.push_back(text.substr(0, open) + prefix + text.substr(close + 1));
  }
  return texts;
}

ConfigRule parse_rule(const Json& json, const Prefixes& prefixes, std::string_view where) {
  check_keys(json, {"from", "values", "default", "null", "default_same_as", "default_quotient"}, where);
  ConfigRule rule;
  for (const std::string& source : json.value("from", Strings{})) {
    for (std::string& key : expand(source, prefixes, where)) rule.from.push_back(std::move(key));
  }
  if (json.contains("values")) rule.values = json.at("values");
  if (json.contains("default")) rule.fallback = json.at("default");
  if (json.contains("null")) rule.if_null = json.at("null");
  rule.same_as = json.value("default_same_as", "");
  rule.quotient = json.value("default_quotient", Strings{});
  return rule;
}

SplitRule parse_split(const Json& json, std::string_view where) {
  check_keys(json, {"parts", "groups", "halves_in_turns"}, where);
  SplitRule rule;
  rule.halves_in_turns = json.value("halves_in_turns", "");
  rule.groups = json.value("groups", "");
  for (const Json& part : json.at("parts")) {
    check_keys(part, {"tensor", "rows"}, where);
    rule.parts.push_back({part.at("tensor"), part.at("rows").get<Strings>()});
  }
  return rule;
}

/// The sections that blocks and families share; what came first stays, so families go before their blocks.
void merge_sections(Family& family, const Json& json, const Prefixes& prefixes, std::string_view where) {
  const auto section = [&json](const char* name) {
    const auto found = json.find(name);
    return found == json.end() ? Json::object() : *found;
  };
  const Json config = section("config");  // named, because items() refers to what it is called on
  const Json tensors = section("tensors");
  const Json split = section("split");
  const Json ignore = section("ignore");
  const Json refuse = section("refuse");
  const Json require = section("require");
  for (const auto& [key, rule] : config.items()) {
    family.config.emplace(key, parse_rule(rule, prefixes, where));
  }
  for (const auto& [source, canonical] : tensors.items()) {
    for (const std::string& name : expand(source, prefixes, where)) family.tensors.emplace(name, canonical);
  }
  for (const auto& [source, rule] : split.items()) {
    for (const std::string& name : expand(source, prefixes, where)) {
      family.split.emplace(name, parse_split(rule, where));
    }
  }
  for (const auto& [pattern, reason] : ignore.items()) {
    for (const std::string& name : expand(pattern, prefixes, where)) family.ignore.emplace(name, reason);
  }
  for (const auto& [pattern, reason] : refuse.items()) {
    for (const std::string& name : expand(pattern, prefixes, where)) family.refuse.emplace(name, reason);
  }
  for (const auto& [source, allowed] : require.items()) {
    for (const std::string& key : expand(source, prefixes, where)) family.require.emplace(key, allowed);
  }
  for (const Json& rule : json.value("unused", Json::array())) {
    check_keys(rule, {"tensor", "because", "when", "beyond"}, where);
    family.unused.push_back(
        {rule.at("tensor"), rule.at("because"), rule.value("when", ""), rule.value("beyond", "")});
  }
}

/// A family's or a block's blocks, and theirs in turn.
void merge_blocks(Family& family, const Json& json, const std::map<std::string, Json>& blocks,
                  const Prefixes& prefixes) {
  for (const std::string& name : json.value("blocks", Strings{})) {
    const Json& block = blocks.at(name);
    check_keys(block,
               {"about", "blocks", "config", "tensors", "split", "ignore", "refuse", "require", "unused"},
               name);
    merge_sections(family, block, prefixes, name);
    merge_blocks(family, block, blocks, prefixes);
  }
}

Family parse_family(const Json& json, const std::map<std::string, Json>& blocks, std::string_view where) {
  check_keys(json,
             {"name", "about", "match", "blocks", "prefixes", "adapters", "supply", "separate_tower",
              "require", "config", "tensors", "split", "ignore", "refuse", "unused"},
             where);
  Family family;
  family.name = json.at("name");
  family.adapters_named_by = json.value("adapters", Strings{});
  const Json& match = json.at("match");
  check_keys(match, {"architectures", "model_type", "gguf", "where"}, where);
  family.architectures = match.value("architectures", Strings{});
  family.gguf_architectures = match.value("gguf", Strings{});
  family.model_types = match.value("model_type", Strings{});
  family.where = match.value("where", std::map<std::string, Json>{});

  const Prefixes prefixes = json.value("prefixes", Prefixes{});
  merge_sections(family, json, prefixes, where);
  merge_blocks(family, json, blocks, prefixes);
  if (json.contains("supply")) {
    const Json& supply = json.at("supply");
    check_keys(supply, {"at", "value", "named_by", "table"}, where);
    family.supply_at = supply.at("at");
    family.supply_name_by = supply.value("named_by", "");
    family.supply = supply.contains("table") ? blocks.at(supply.at("table")) : supply.at("value");
  }
  if (json.contains("separate_tower")) family.tower_named_by = json.at("separate_tower").at("named_by");
  return family;
}

}  // namespace

std::vector<Family> parse_families(std::span<const EmbeddedFile> files) {
  std::string_view reading;
  try {
    std::map<std::string, Json> blocks;
    for (const EmbeddedFile& file : files) {
      reading = file.name;
      if (!is_block(file.name)) continue;
      std::string_view stem = file.name.substr(file.name.rfind('/') + 1);
      stem.remove_suffix(std::string_view(".json").size());
      blocks.emplace(stem, parse_json(file.text, file.name, RepeatedKeys::refuse));
    }
    std::vector<Family> families;
    for (const EmbeddedFile& file : files) {
      reading = file.name;
      if (is_block(file.name)) continue;
      families.push_back(
          parse_family(parse_json(file.text, file.name, RepeatedKeys::refuse), blocks, file.name));
    }
    return families;
  } catch (const Json::exception& error) {
    fail(ErrorCode::internal, "{}: {}", reading, error.what());
  } catch (const std::out_of_range&) {
    fail(ErrorCode::internal, "{}: names a block that does not exist", reading);
  }
}

const std::vector<Family>& known_families() {
  static const std::vector<Family> families = parse_families(family_files());
  return families;
}

}  // namespace checkpoint
}  // namespace galago
