#include "model/description.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/fail.h"

namespace galago::model {
namespace {

using nlohmann::json;

/// Reads values of one section of the canonical configuration with errors that name the model and the key.
class Section {
 public:
  Section(const json& config, std::string name, std::string model)
      : name_(std::move(name)), model_(std::move(model)) {
    const auto found = config.find(name_);
    if (found == config.end() || !found->is_object()) {
      fail(ErrorCode::model, "{}: the configuration says nothing of the {}", model_, name_);
    }
    values_ = &*found;
  }

  std::int64_t count(const char* key, std::int64_t at_least, std::int64_t at_most) const {
    const json& value = at(key);
    if (!value.is_number_integer()) refuse(key, "an integer");
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(at_most)) {
      refuse(key, fmt::format("between {} and {}", at_least, at_most));
    }
    const auto number = value.get<std::int64_t>();
    if (number < at_least || number > at_most)
      refuse(key, fmt::format("between {} and {}", at_least, at_most));
    return number;
  }

  double positive(const char* key, double at_most) const {
    const json& value = at(key);
    if (!value.is_number()) refuse(key, "a number");
    const auto number = value.get<double>();
    if (!(number > 0) || number > at_most) refuse(key, fmt::format("above 0 and at most {}", at_most));
    return number;
  }

  bool flag(const char* key) const {
    const json& value = at(key);
    if (!value.is_boolean()) refuse(key, "true or false");
    return value.get<bool>();
  }

  bool flag_or(const char* key, bool absent) const { return is_null(key) ? absent : flag(key); }

  std::string word(const char* key) const {
    const json& value = at(key);
    if (!value.is_string()) refuse(key, "a string");
    return value.get<std::string>();
  }

  backend::Activation activation(const char* key) const {
    const std::string name = word(key);
    if (name == "gelu") return backend::Activation::gelu;
    if (name == "quick_gelu") return backend::Activation::quick_gelu;
    if (name == "silu") return backend::Activation::silu;
    refuse(key, "gelu, quick_gelu or silu");
  }

  bool is_null(const char* key) const {
    const auto found = values_->find(key);
    return found == values_->end() || found->is_null();
  }

  [[noreturn]] void refuse(const char* key, const std::string& expected) const {
    const auto found = values_->find(key);
    fail(ErrorCode::model, "{}: {}.{} is {}, expected {}", model_, name_, key,
         found == values_->end() ? "absent" : found->dump(), expected);
  }

  const json& at(const char* key) const {
    const auto found = values_->find(key);
    if (found == values_->end()) refuse(key, "a value");
    return *found;
  }
  const json& values() const { return *values_; }

 private:
  std::string name_;
  std::string model_;
  const json* values_ = nullptr;
};

// Upper bounds far beyond any published model, so that products of them stay within 64 bits.
constexpr std::int64_t max_width = 1 << 20;
constexpr std::int64_t max_layers = 4096;
constexpr std::int64_t max_heads = 4096;
constexpr std::int64_t max_head_size = 256;  // what the attention kernels hold in registers and on the stack
constexpr std::int64_t max_vocabulary = 1 << 24;
constexpr std::int64_t max_positions = 1 << 24;
constexpr std::int64_t max_patch_side = 256;

/// A window in every layer from the first windowed one on, or in those that the list of layer types names.
std::vector<std::int64_t> describe_windows(const Section& section, std::int64_t n_layers) {
  std::vector<std::int64_t> windows(static_cast<std::size_t>(n_layers));
  if (section.is_null("sliding_window")) return windows;
  if (!section.is_null("windowed") && !section.flag("windowed")) return windows;
  const std::int64_t window = section.count("sliding_window", 1, max_positions);
  if (section.is_null("layer_types")) {
    const std::int64_t first =
        section.is_null("first_windowed_layer") ? 0 : section.count("first_windowed_layer", 0, max_layers);
    for (std::int64_t i = first; i < n_layers; ++i) windows[static_cast<std::size_t>(i)] = window;
    return windows;
  }
  const json& types = section.at("layer_types");
  if (types.size() != windows.size()) {
    section.refuse("layer_types", fmt::format("one for each of the {} layers", n_layers));
  }
  for (std::size_t i = 0; i < windows.size(); ++i) {
    if (types[i] != "sliding_attention" && types[i] != "full_attention") {
      section.refuse("layer_types", "only \"sliding_attention\" and \"full_attention\"");
    }
    if (types[i] == "sliding_attention") windows[i] = window;
  }
  return windows;
}

DecoderShape describe_decoder(const json& config, const std::string& model) {
  const Section section(config, "decoder", model);
  DecoderShape shape{};
  shape.hidden_size = section.count("hidden_size", 1, max_width);
  shape.mlp_size = section.count("mlp_size", 1, max_width);
  shape.n_layers = section.count("n_layers", 1, max_layers);
  shape.n_heads = section.count("n_heads", 1, max_heads);
  shape.n_kv_heads = section.count("n_kv_heads", 1, shape.n_heads);
  shape.head_size = section.count("head_size", 2, max_head_size);
  shape.vocab_size = section.count("vocab_size", 1, max_vocabulary);
  shape.norm_epsilon = static_cast<float>(section.positive("norm_eps", 1));
  shape.activation = section.activation("activation");
  shape.attention_bias = section.flag("attention_bias");
  shape.attention_out_bias = !section.is_null("attention_out_bias") && section.flag("attention_out_bias");
  shape.tied_embeddings = section.flag("tied_embeddings");
  if (!section.is_null("picture_rank")) {
    const std::int64_t rank = section.count("picture_rank", 1, max_width);
    const double alpha = section.positive("picture_alpha", 1e6);
    shape.picture_branches = BranchShape{rank, static_cast<float>(alpha / static_cast<double>(rank))};
  }
  if (shape.n_heads % shape.n_kv_heads != 0) {
    section.refuse("n_kv_heads", fmt::format("a divisor of the {} heads", shape.n_heads));
  }
  shape.rope = describe_rope(section.values(), shape.head_size, model);
  shape.max_context = shape.rope.max_context;
  shape.windows = describe_windows(section, shape.n_layers);
  return shape;
}

/// What the towers differ in; a family that says nothing of it has CLIP's.
void describe_tower_variant(const Section& section, TowerShape& shape) {
  shape.position_side = section.is_null("position_size")
                            ? shape.side()
                            : section.count("position_size", shape.patch_size, 16384) / shape.patch_size;
  if (shape.position_side > max_patch_side) {
    section.refuse("position_size", fmt::format("one that gives at most {} patches a side", max_patch_side));
  }
  const std::string norm = section.is_null("norm") ? "layer_norm" : section.word("norm");
  if (norm != "layer_norm" && norm != "rms_norm") section.refuse("norm", "\"layer_norm\" or \"rms_norm\"");
  shape.norm = norm == "rms_norm" ? TowerNorm::rms_norm : TowerNorm::layer_norm;
  shape.pre_norm = section.flag_or("pre_norm", true);
  shape.patch_bias = section.flag_or("patch_bias", false);
  shape.attention_bias = section.flag_or("attention_bias", true);
  shape.query_key_norm = section.flag_or("query_key_norm", false);
  shape.layer_scale = section.flag_or("layer_scale", false);
}

TowerShape describe_tower(const json& config, const std::string& model) {
  const Section section(config, "tower", model);
  TowerShape shape{};
  shape.hidden_size = section.count("hidden_size", 1, max_width);
  shape.mlp_size = section.count("mlp_size", 1, max_width);
  shape.n_heads = section.count("n_heads", 1, max_heads);
  shape.image_size = section.count("image_size", 1, 16384);
  shape.patch_size = section.count("patch_size", 1, shape.image_size);
  if (shape.side() > max_patch_side) {
    section.refuse("patch_size", fmt::format("one that gives at most {} patches a side", max_patch_side));
  }
  shape.norm_epsilon = static_cast<float>(section.positive("norm_eps", 1));
  shape.activation = section.activation("activation");
  if (shape.hidden_size % shape.n_heads != 0 || shape.head_size() > max_head_size) {
    section.refuse("n_heads", fmt::format("a divisor of the width {} that gives heads of at most {}",
                                          shape.hidden_size, max_head_size));
  }
  const std::int64_t n_layers = section.count("n_layers", 1, max_layers);
  const std::int64_t feature_layer = section.count("feature_layer", -n_layers - 1, n_layers);
  // The features of layer k are what k layers made of the embeddings; negative ones count from the end.
  shape.n_layers_run = feature_layer < 0 ? n_layers + 1 + feature_layer : feature_layer;
  const std::string select = section.word("select");
  if (select != "patches" && select != "full") section.refuse("select", "\"patches\" or \"full\"");
  shape.with_class_token = select == "full";
  describe_tower_variant(section, shape);
  return shape;
}

ProjectorShape describe_projector(const json& config, const TowerShape& tower, const std::string& model) {
  const Section section(config, "projector", model);
  ProjectorShape shape{};
  const std::string type = section.word("type");
  if (type != "mlp" && type != "pixel_shuffle_mlp")
    section.refuse("type", "\"mlp\" or \"pixel_shuffle_mlp\"");
  shape.activation = section.activation("activation");
  shape.newline = section.flag_or("newline", false);
  if (shape.newline && tower.with_class_token) {
    section.refuse("newline", "false, because the class token has no place in a grid");
  }
  if (type == "mlp") return shape;
  const double ratio = section.positive("downsample_ratio", 1);
  shape.shuffle = std::lround(std::min(1 / ratio, 1e6));
  if (tower.side() % shape.shuffle != 0 || std::abs(1 / ratio - static_cast<double>(shape.shuffle)) > 1e-6) {
    section.refuse("downsample_ratio", fmt::format("one that divides {} patches a side", tower.side()));
  }
  if (!tower.with_class_token) section.refuse("type", "\"mlp\", as the tower hands on patches alone");
  return shape;
}

}  // namespace

Description describe(const nlohmann::json& config, const std::string& model) {
  Description description{describe_decoder(config, model), std::nullopt, std::nullopt};
  if (!config.contains("tower")) return description;
  description.tower = describe_tower(config, model);
  description.projector = describe_projector(config, *description.tower, model);
  return description;
}

}  // namespace galago::model
