// load_tokenizer(): the tokenizer's own file, then what the configuration beside it adds.
#include <algorithm>

#include "base/fail.h"
#include "base/json.h"
#include "base/printable.h"
#include "text/load_sentencepiece.h"
#include "text/load_tokenizer.h"
#include "text/load_tokenizer_json.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json_steps.h"

namespace galago::text {
namespace {

namespace fs = std::filesystem;

/// An optional file's object, empty where there is no such file.
Json read_object(const fs::path& path) {
  if (!fs::exists(path)) return Json::object();
  Json json = parse_json_file(path);
  if (!json.is_object())
    fail(ErrorCode::model, "{}: expected an object, found {}", path.string(), describe_json(json));
  return json;
}

/// Tokens of tokenizer_config.json that the tokenizer's own file does not have.
void add_configured_tokens(const Json& config, const std::string& file, VocabularyName name,
                           TokenizerParts& parts) {
  const auto listed = config.find("added_tokens_decoder");
  if (listed == config.end() || listed->is_null()) return;
  if (!listed->is_object()) {
    fail(ErrorCode::model, "{}: added_tokens_decoder is {}, expected an object", file,
         describe_json(*listed));
  }
  for (const auto& [key, json] : listed->items()) {
    constexpr std::size_t longest = 8;  // digits of Vocabulary::largest_id
    if (key.empty() || key.size() > longest || key.find_first_not_of("0123456789") != std::string::npos) {
      fail(ErrorCode::model, "{}: added_tokens_decoder has the id \"{}\", expected a number", file,
           printable(key));
    }
    AddedToken token;
    token.id = std::stoi(key);
    token.content = get_string(json, "content", file);
    token.special = bool_or(json, "special", false, file);
    token.lstrip = bool_or(json, "lstrip", false, file);
    token.rstrip = bool_or(json, "rstrip", false, file);
    token.single_word = bool_or(json, "single_word", false, file);
    token.normalized = bool_or(json, "normalized", !token.special, file);
    const auto known = parts.added.find(token.id);
    if (known == parts.added.end() || known->second.content != token.content) {
      parts.add(token, file, name);
    }
  }
}

/// added_tokens.json, {"<image>": 32000}: all that is known of these is that they are not split.
void add_named_tokens(const Json& named, const std::string& file, VocabularyName name,
                      TokenizerParts& parts) {
  for (const auto& [content, id] : named.items()) {
    AddedToken token;
    token.content = content;
    token.special = true;
    if (!id.is_number_integer()) {
      fail(ErrorCode::model, "{}: the id of \"{}\" is {}, expected an integer", file, printable(content),
           describe_json(id));
    }
    const Json entry = {{"id", id}};
    token.id = static_cast<std::int32_t>(get_int(entry, "id", 0, Vocabulary::largest_id, file));
    if (!parts.added.contains(token.id)) parts.add(token, file, name);
  }
}

/// "</s>" or {"content": "</s>", ...}; absent for null and for tokens the tokenizer does not have.
std::optional<std::string> token_text(const Json& json, const char* key, const std::string& file) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::nullopt;
  if (found->is_object()) return get_string(*found, "content", file);
  return get_string(json, key, file);
}

void make_special(const std::string& content, TokenizerParts& parts, const std::string& file) {
  const auto id = parts.find(content);
  if (!id) return;
  const auto known = parts.added.find(*id);
  if (known != parts.added.end()) {
    // One that was renamed has its own role under its new name.
    if (known->second.content == content) known->second.special = true;
    return;
  }
  AddedToken token;
  token.content = content;
  token.id = *id;
  token.special = true;
  parts.add(token, file);
}

/// The tokens that files give a role are special, whatever else is said of them.
void read_roles(const Json& json, const std::string& file, TokenizerParts& parts) {
  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
    if (const auto content = token_text(json, key, file)) make_special(*content, parts, file);
  }
  if (const auto bos = token_text(json, "bos_token", file)) parts.bos = parts.find(*bos);
  if (const auto eos = token_text(json, "eos_token", file)) parts.eos = parts.find(*eos);
  const auto more = json.find("additional_special_tokens");
  if (more == json.end() || more->is_null()) return;
  if (!more->is_array()) {
    fail(ErrorCode::model, "{}: additional_special_tokens is {}, expected an array", file,
         describe_json(*more));
  }
  for (const Json& token : *more) {
    make_special(token.is_object() ? get_string(token, "content", file)
                                   : get_string(Json{{"token", token}}, "token", file),
                 parts, file);
  }
}

/// add_bos_token and add_eos_token, where they are there, overrule the tokenizer's own file.
void read_frame(const Json& config, const std::string& file, TokenizerParts& parts) {
  const auto apply = [&](const char* key, std::optional<std::int32_t> id, std::vector<std::int32_t>& ids) {
    if (!config.contains(key) || config.at(key).is_null()) return;
    ids.clear();
    if (get_bool(config, key, file) && id) ids.push_back(*id);
  };
  apply("add_bos_token", parts.bos, parts.prefix);
  apply("add_eos_token", parts.eos, parts.suffix);
}

}  // namespace

TokenizerParts load_tokenizer_parts(const fs::path& directory) {
  const fs::path config_path = directory / "tokenizer_config.json";
  const fs::path named_path = directory / "added_tokens.json";
  const fs::path roles_path = directory / "special_tokens_map.json";
  const Json config = read_object(config_path);
  const bool has_json = fs::exists(directory / "tokenizer.json");
  if (!has_json && !fs::exists(directory / "tokenizer.model")) {
    fail(ErrorCode::model, "{}: there is neither a tokenizer.json nor a tokenizer.model", directory.string());
  }
  TokenizerParts parts = has_json ? load_tokenizer_json(directory / "tokenizer.json")
                                  : load_sentencepiece(directory / "tokenizer.model", config);
  // InternLM2 gives pieces that its tokenizer.model left unused a name: 92543 is "[UNUSED_TOKEN_146]" there
  // and
  // "<|im_start|>" here.
  const VocabularyName name = has_json ? VocabularyName::must_agree : VocabularyName::may_differ;
  add_configured_tokens(config, config_path.string(), name, parts);
  add_named_tokens(read_object(named_path), named_path.string(), name, parts);
  read_roles(read_object(roles_path), roles_path.string(), parts);
  read_roles(config, config_path.string(), parts);
  read_frame(config, config_path.string(), parts);
  parts.build_finders();
  return parts;
}

Tokenizer load_tokenizer(const fs::path& directory) {
  return Tokenizer(std::make_shared<const TokenizerParts>(load_tokenizer_parts(directory)));
}

}  // namespace galago::text
