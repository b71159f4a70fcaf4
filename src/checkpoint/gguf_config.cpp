// Keys become nested objects; stretched rotary positions are put together from keys and tensors.
#include "checkpoint/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/printable.h"
#include "checkpoint/gguf_tower_config.h"
#include "tensor/convert.h"

namespace galago::checkpoint {
namespace {

constexpr std::uint64_t longest_list = 4096;  // lists of the configuration are short, tables are not
constexpr std::size_t most_levels = 8;
constexpr std::size_t longest_text = 1024;
constexpr std::int64_t most_factors = 65536;

/// The value for the configuration; null where it is none.
Json plain_value(const GgufValue& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    return text->size() > longest_text ? Json() : Json(std::string(*text));
  }
  if (const auto* list = std::get_if<GgufArray>(&value)) {
    if (list->numbers.empty() || list->count > longest_list) return {};
    const bool whole = list->type != GgufType::f32 && list->type != GgufType::f64;
    Json numbers = Json::array();
    for (std::uint64_t i = 0; i < list->count; ++i) {
      const double number = list->number(i);
      if (whole && std::abs(number) < 0x1p53) {
        numbers.push_back(static_cast<std::int64_t>(number));
      } else {
        numbers.push_back(number);
      }
    }
    return list->count == 1 ? numbers[0] : numbers;
  }
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  if (const auto* number = std::get_if<double>(&value)) return *number;
  return std::get<bool>(value);
}

/// Puts a value at its dotted key, unless a part of the key is a value already.
void put(Json& config, const std::string& key, Json value) {
  Json* place = &config;
  std::size_t start = 0;
  for (std::size_t level = 0; level < most_levels; ++level) {
    const std::size_t dot = key.find('.', start);
    Json& next = (*place)[key.substr(start, dot - start)];
    if (dot == key.npos) {
      next = std::move(value);
      return;
    }
    if (!next.is_null() && !next.is_object()) return;
    place = &next;
    start = dot + 1;
  }
}

/// The numbers of a small FP32 tensor, or null where the file has none of this name.
Json factors(const Gguf& gguf, std::span<const std::byte> file, std::string_view tensor,
             std::string_view name) {
  const TensorEntry* entry = gguf.find_tensor(tensor);
  if (entry == nullptr) return {};
  const std::int64_t count = entry->shape.elements();
  if (entry->dtype != DType::f32 || entry->shape.rank() != 1 || count > most_factors) {
    fail(ErrorCode::model, "{}: tensor {} is {} {}, expected a list of fp32 rotary factors", name, tensor,
         entry->stored_as(), entry->shape.to_string());
  }
  std::vector<float> values(static_cast<std::size_t>(count));
  to_f32(DType::f32, file.subspan(entry->offset, entry->bytes), values);
  return values;
}

/// What {arch}.rope.scaling.* and the factors of single frequencies say. Files of LLaMA 3 carry the factors
/// that its scaling comes to, those of Phi-3 two lists.
Json rope_scaling(const Gguf& gguf, std::span<const std::byte> file, const Json& config,
                  std::string_view name) {
  const Json* stated = find_json(config, "general.architecture");
  const std::string arch = stated != nullptr && stated->is_string() ? stated->get<std::string>() : "";
  const Json* keys = find_json(config, arch + ".rope.scaling");
  Json scaling = Json::object();
  const Json all = factors(gguf, file, "rope_freqs.weight", name);
  const Json long_ones = factors(gguf, file, "rope_factors_long.weight", name);
  const Json short_ones = factors(gguf, file, "rope_factors_short.weight", name);
  if (keys != nullptr && keys->is_object()) {
    for (const auto& [from, to] :
         {std::pair("type", "rope_type"), std::pair("factor", "factor"),
          std::pair("attn_factor", "attention_factor"),
          std::pair("original_context_length", "original_max_position_embeddings")}) {
      if (keys->contains(from)) scaling[to] = keys->at(from);
    }
  }
  if (!all.is_null()) {
    scaling = {
        {"rope_type", "longrope"}, {"short_factor", all}, {"long_factor", all}, {"attention_factor", 1.0}};
  } else if (!long_ones.is_null() || !short_ones.is_null()) {
    scaling["rope_type"] = "longrope";
    scaling["short_factor"] = short_ones;
    scaling["long_factor"] = long_ones;
  } else if (const Json* old = find_json(config, arch + ".rope.scale_linear"); old != nullptr && *old != 1) {
    scaling = {{"rope_type", "linear"}, {"factor", *old}};  // as old files say it
  }
  if (!scaling.contains("rope_type") || scaling["rope_type"] == "none") return {};
  return scaling;
}

/// The fraction of a head that positions turn. Half an element more, so that no rounding loses one.
Json partial_rotary(const Json& config) {
  const Json* arch = find_json(config, "general.architecture");
  if (arch == nullptr || !arch->is_string()) return {};
  const auto count = [&](const char* key) -> double {
    const Json* value = find_json(config, arch->get_ref<const std::string&>() + key);
    return value != nullptr && value->is_number_integer() ? value->get<double>() : 0;
  };
  const double turned = count(".rope.dimension_count");
  const double n_heads = count(".attention.head_count");
  double head = count(".attention.key_length");
  if (head == 0 && n_heads > 0) head = std::floor(count(".embedding_length") / n_heads);
  if (turned <= 0 || turned >= head) return {};
  return (turned + 0.5) / head;
}

}  // namespace

Json gguf_config(const Gguf& gguf, std::span<const std::byte> file, std::string_view name) {
  Json config = Json::object();
  for (const auto& [key, value] : gguf.metadata) {
    // Names in messages must be fit to print, and no configuration has others.
    if (printable(key) != key || key.starts_with("gguf.")) continue;
    Json plain = plain_value(value);
    if (!plain.is_null()) put(config, key, std::move(plain));
  }
  Json derived = Json::object();
  const TensorEntry* embeddings = gguf.find_tensor("token_embd.weight");
  if (embeddings != nullptr && embeddings->shape.rank() == 2) derived["vocab_size"] = embeddings->shape[0];
  derived["tied_embeddings"] = gguf.find_tensor("output.weight") == nullptr;
  derived["attention_bias"] = gguf.find_tensor("blk.0.attn_q.bias") != nullptr;
  derived["attention_out_bias"] = gguf.find_tensor("blk.0.attn_output.bias") != nullptr;
  derived["partial_rotary"] = partial_rotary(config);
  derived["rope_scaling"] = rope_scaling(gguf, file, config, name);
  add_tower_facts(gguf, config, derived);
  config["gguf"] = std::move(derived);
  return config;
}

}  // namespace galago::checkpoint
