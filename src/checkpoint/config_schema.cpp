// What each canonical key may hold. Bounds lie far above every published model and low enough that products
// of a few of them stay within 64 bits.
#include <array>
#include <cmath>
#include <map>

#include "base/fail.h"
#include "base/printable.h"
#include "checkpoint/canonical_config.h"

namespace galago::checkpoint {
namespace {

enum class Kind { integer, side, number, flag, word, words, token, tokens, triple, sizes, scaling };

struct Type {
  Kind kind;
  double min = 0;
  double max = 0;
  bool may_be_null = false;
};

constexpr double widest = 1 << 20;
constexpr double longest = 1 << 24;
constexpr double last_token = 2147483647;

const std::map<std::string, Type>& schema() {
  static const std::map<std::string, Type> types = {
      {"decoder.hidden_size", {Kind::integer, 1, widest}},
      {"decoder.mlp_size", {Kind::integer, 1, widest}},
      {"decoder.n_layers", {Kind::integer, 1, 4096}},
      {"decoder.n_heads", {Kind::integer, 1, 4096}},
      {"decoder.n_kv_heads", {Kind::integer, 1, 4096}},
      {"decoder.head_size", {Kind::integer, 1, 65536}},
      {"decoder.vocab_size", {Kind::integer, 1, longest}},
      {"decoder.norm_eps", {Kind::number, 0, 1}},
      {"decoder.rope_theta", {Kind::number, 1, 1e12}},
      {"decoder.rope_scaling", {Kind::scaling, 0, 0, true}},
      {"decoder.max_context", {Kind::integer, 1, longest}},
      {"decoder.tied_embeddings", {Kind::flag, 0, 0, true}},
      {"decoder.rope_original_context", {Kind::integer, 2, longest, true}},
      {"decoder.partial_rotary", {Kind::number, 0, 1}},
      {"decoder.sliding_window", {Kind::integer, 1, longest, true}},
      {"decoder.picture_rank", {Kind::integer, 1, 65536}},
      {"decoder.picture_alpha", {Kind::number, 1e-6, 1e6}},
      {"decoder.windowed", {Kind::flag}},
      {"decoder.first_windowed_layer", {Kind::integer, 0, 4096}},
      {"decoder.layer_types", {Kind::words, 0, 0, true}},
      {"decoder.activation", {Kind::word}},
      {"decoder.attention_bias", {Kind::flag}},
      {"decoder.attention_out_bias", {Kind::flag}},
      {"tower.hidden_size", {Kind::integer, 1, widest}},
      {"tower.mlp_size", {Kind::integer, 1, widest}},
      {"tower.n_layers", {Kind::integer, 1, 4096}},
      {"tower.n_heads", {Kind::integer, 1, 4096}},
      {"tower.image_size", {Kind::side, 1, 16384}},
      {"tower.patch_size", {Kind::side, 1, 16384}},
      {"tower.position_size", {Kind::side, 1, 16384}},
      {"tower.norm_eps", {Kind::number, 0, 1}},
      {"tower.activation", {Kind::word}},
      {"tower.feature_layer", {Kind::integer, -4097, 4096}},
      {"tower.select", {Kind::word}},
      {"tower.norm", {Kind::word}},
      {"tower.pre_norm", {Kind::flag}},
      {"tower.patch_bias", {Kind::flag}},
      {"tower.attention_bias", {Kind::flag}},
      {"tower.query_key_norm", {Kind::flag}},
      {"tower.layer_scale", {Kind::flag}},
      {"projector.type", {Kind::word}},
      {"projector.activation", {Kind::word}},
      {"projector.newline", {Kind::flag}},
      {"projector.downsample_ratio", {Kind::number, 1e-3, 1}},
      {"image.fit", {Kind::word}},
      {"image.tiling", {Kind::word}},
      {"image.grids", {Kind::sizes, 1, 262144}},
      {"image.grid_order", {Kind::word}},
      {"image.min_tiles", {Kind::integer, 1, 256}},
      {"image.max_tiles", {Kind::integer, 1, 256}},
      {"image.thumbnail", {Kind::flag}},
      {"image.size", {Kind::integer, 1, 16384}},
      {"image.crop", {Kind::integer, 1, 16384}},
      {"image.resample", {Kind::word}},
      {"image.mean", {Kind::triple, -1000, 1000}},
      {"image.std", {Kind::triple, 1e-6, 1000}},
      {"image.rescale_factor", {Kind::number, 1e-9, 1000}},
      {"tokens.image_token_id", {Kind::token, 0, last_token, true}},
      {"tokens.image_token", {Kind::word}},
      {"tokens.image_text", {Kind::word}},
      {"tokens.image_mark_id", {Kind::integer, -last_token, -1}},
      {"tokens.bos", {Kind::token, 0, last_token, true}},
      {"tokens.eos", {Kind::tokens, 0, last_token}},
      {"tokens.pad", {Kind::token, 0, last_token, true}},
      {"chat", {Kind::word}},
      {"chat_hint", {Kind::word}},
  };
  return types;
}

[[noreturn]] void refuse(const std::string& label, const Json& value, std::string_view expected) {
  fail(ErrorCode::model, "{} is {}, expected {}", label, describe_json(value), expected);
}

Json check_integer(const Json& value, const Type& type, const std::string& label) {
  if (!value.is_number_integer() || value.get<double>() < type.min || value.get<double>() > type.max) {
    refuse(label, value, fmt::format("an integer from {:.0f} to {:.0f}", type.min, type.max));
  }
  return value;
}

/// The side of a square, written as one number or as two equal ones.
Json check_side(const Json& value, const Type& type, const std::string& label) {
  if (!value.is_array()) return check_integer(value, type, label);
  if (value.size() != 2 || value[0] != value[1]) refuse(label, value, "one side or two equal ones");
  return check_integer(value[0], type, label);
}

Json check_number(const Json& value, const Type& type, const std::string& label) {
  if (!value.is_number() || !(value.get<double>() >= type.min && value.get<double>() <= type.max)) {
    refuse(label, value, fmt::format("a number from {} to {}", type.min, type.max));
  }
  return value;
}

Json check_words(const Json& value, const std::string& label) {
  if (!value.is_array()) refuse(label, value, "a list of strings");
  for (const Json& word : value) {
    if (!word.is_string()) refuse(label, word, "a string");
  }
  return value;
}

/// One id; old configurations write -1 for "none".
Json check_token(const Json& value, const Type& type, const std::string& label) {
  if (type.may_be_null && value == -1) return nullptr;
  return check_integer(value, type, label);
}

/// One id or a list of them, as a list.
Json check_tokens(const Json& value, const Type& type, const std::string& label) {
  Json ids = Json::array();
  if (!value.is_array()) {
    ids.push_back(check_integer(value, type, label));
    return ids;
  }
  for (const Json& id : value) ids.push_back(check_integer(id, type, label));
  return ids;
}

Json check_triple(const Json& value, const Type& type, const std::string& label) {
  if (!value.is_array() || value.size() != 3) refuse(label, value, "three numbers");
  for (const Json& number : value) check_number(number, type, label);
  return value;
}

/// A list of pairs of sides.
Json check_sizes(const Json& value, const Type& type, const std::string& label) {
  constexpr std::size_t most = 256;
  if (!value.is_array() || value.size() > most) refuse(label, value, "a list of at most 256 sizes");
  for (const Json& size : value) {
    if (!size.is_array() || size.size() != 2) refuse(label, size, "two sides");
    for (const Json& side : size) check_integer(side, type, label);
  }
  return value;
}

bool is_finite_number(const Json& value) {
  return value.is_number() && std::isfinite(value.get<double>());
}

/// Rotary scaling under one spelling: {"type": name, numbers, flags and lists of numbers as found};
/// "default" is null.
Json check_scaling(const Json& value, const std::string& label) {
  if (!value.is_object()) refuse(label, value, "an object or null");
  Json scaling = Json::object();
  for (const auto& [key, part] : value.items()) {
    if (key == "type" || key == "rope_type") {
      if (!part.is_string()) refuse(fmt::format("{}.{}", label, key), part, "a string");
      // The newer spelling wins where both are there.
      if (key == "rope_type" || !scaling.contains("type"))
        scaling["type"] = part == "su" ? Json("longrope") : part;
    } else if (part.is_array()) {
      for (const Json& number : part) {
        if (!is_finite_number(number))
          refuse(fmt::format("{}.{}", label, printable(key)), number, "a number");
      }
      scaling[key] = part;
    } else if (part.is_boolean() || (key != "rope_theta" && is_finite_number(part))) {
      scaling[key] = part;
    }
  }
  if (!scaling.contains("type")) refuse(label, value, "an object with a type");
  return scaling["type"] == "default" ? Json(nullptr) : scaling;
}

}  // namespace

Json checked_value(const std::string& canonical_key, const Json& value, const std::string& label) {
  const auto found = schema().find(canonical_key);
  if (found == schema().end()) fail(ErrorCode::internal, "no type for the canonical key {}", canonical_key);
  const Type& type = found->second;
  if (value.is_null() && type.may_be_null) return value;
  switch (type.kind) {
    case Kind::integer:
      return check_integer(value, type, label);
    case Kind::side:
      return check_side(value, type, label);
    case Kind::number:
      return check_number(value, type, label);
    case Kind::flag:
      if (!value.is_boolean()) refuse(label, value, "true or false");
      return value;
    case Kind::word:
      if (!value.is_string()) refuse(label, value, "a string");
      return value;
    case Kind::words:
      return check_words(value, label);
    case Kind::token:
      return check_token(value, type, label);
    case Kind::tokens:
      return check_tokens(value, type, label);
    case Kind::triple:
      return check_triple(value, type, label);
    case Kind::sizes:
      return check_sizes(value, type, label);
    case Kind::scaling:
      return check_scaling(value, label);
  }
  fail(ErrorCode::internal, "no check for the canonical key {}", canonical_key);
}

}  // namespace galago::checkpoint
