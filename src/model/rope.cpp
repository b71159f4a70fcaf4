// Formulas and rounding follow transformers (modeling_rope_utils): frequencies are FP32 whatever the weights
// are, and so are the steps that lead to them.
#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/fail.h"
#include "base/json.h"
#include "base/printable.h"

namespace galago::model {
namespace {

constexpr double largest = 1e12;

/// The scaling's own object, with errors that name the model and the key.
class Scaling {
 public:
  Scaling(const Json& values, std::string label) : values_(values), label_(std::move(label)) {}

  double number(const char* key) const { return get_number(values_, key, 0, largest, label_); }
  double number_or(const char* key, double fallback) const {
    return find_json(values_, key) != nullptr ? number(key) : fallback;
  }
  double positive(const char* key) const {
    const double value = number(key);
    if (!(value > 0)) fail(ErrorCode::model, "{}: {} is {}, expected a positive number", label_, key, value);
    return value;
  }
  bool has(const char* key) const { return find_json(values_, key) != nullptr; }
  bool flag_or(const char* key, bool fallback) const {
    return has(key) ? get_bool(values_, key, label_) : fallback;
  }

  /// One positive factor a frequency.
  std::vector<float> factors(const char* key, std::size_t count) const {
    const Json* list = find_json(values_, key);
    if (list == nullptr || !list->is_array() || list->size() != count) {
      fail(ErrorCode::model, "{}: {} is {}, expected {} numbers, one a frequency", label_, key,
           list == nullptr    ? "absent"
           : list->is_array() ? fmt::format("a list of {}", list->size())
                              : describe_json(*list),
           count);
    }
    std::vector<float> factors;
    for (const Json& factor : *list) {
      if (!factor.is_number() || !(factor.get<double>() > 0) || factor.get<double>() > largest) {
        fail(ErrorCode::model, "{}: {} holds {}, expected positive numbers", label_, key,
             describe_json(factor));
      }
      factors.push_back(factor.get<float>());
    }
    return factors;
  }

 private:
  const Json& values_;
  std::string label_;
};

/// theta ^ (2 i / dimensions), in FP32.
std::vector<float> periods(double theta, std::int64_t dimensions) {
  std::vector<float> result(static_cast<std::size_t>((dimensions + 1) / 2));
  for (std::size_t i = 0; i < result.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dimensions);
    result[i] = static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
  }
  return result;
}

std::vector<float> stretched(const std::vector<float>& periods, const std::vector<float>& factors) {
  std::vector<float> frequencies(periods.size());
  for (std::size_t i = 0; i < periods.size(); ++i) frequencies[i] = 1.0F / (factors[i] * periods[i]);
  return frequencies;
}

/// LLaMA 3.1: long waves are stretched, short ones stay, those between are mixed.
void scale_llama3(const Scaling& scaling, double original_context, std::vector<float>& frequencies) {
  const auto factor = static_cast<float>(scaling.positive("factor"));
  const double low = scaling.positive("low_freq_factor");
  const double high = scaling.positive("high_freq_factor");
  for (float& frequency : frequencies) {
    const float wave = static_cast<float>(2 * std::numbers::pi) / frequency;
    if (wave < static_cast<float>(original_context / high)) continue;
    if (wave > static_cast<float>(original_context / low)) {
      frequency = frequency / factor;
      continue;
    }
    const float kept = (static_cast<float>(original_context) / wave - static_cast<float>(low)) /
                       static_cast<float>(high - low);
    frequency = (1 - kept) * frequency / factor + kept * frequency;
  }
}

/// YaRN (arXiv:2309.00071): pairs that turn often stay, those that turn seldom are stretched.
void scale_yarn(const Scaling& scaling, double theta, double original_context, Rope& rope) {
  const double factor = scaling.has("factor") ? scaling.positive("factor")
                                              : static_cast<double>(rope.max_context) / original_context;
  const auto dimensions = static_cast<double>(rope.dimensions);
  const auto turns_at = [&](double rotations) {
    return dimensions * std::log(original_context / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(theta));
  };
  const auto or_default = [](double value, double fallback) { return value > 0 ? value : fallback; };
  double low = turns_at(or_default(scaling.number_or("beta_fast", 0), 32));
  double high = turns_at(or_default(scaling.number_or("beta_slow", 0), 1));
  if (scaling.flag_or("truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dimensions - 1);
  if (low == high) high += 0.001;
  const std::vector<float> period = periods(theta, rope.dimensions);
  for (std::size_t i = 0; i < period.size(); ++i) {
    const float ramp = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float kept = 1 - std::clamp(ramp, 0.0F, 1.0F);
    rope.frequencies[i] = 1 / (static_cast<float>(factor) * period[i]) * (1 - kept) + 1 / period[i] * kept;
  }
  const auto magnitude = [factor](double weight) {
    return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1;
  };
  const double some = scaling.number_or("mscale", 0);
  const double all = scaling.number_or("mscale_all_dim", 0);
  const double usual = some > 0 && all > 0 ? magnitude(some) / magnitude(all) : magnitude(1);
  rope.scale = static_cast<float>(scaling.number_or("attention_factor", usual));
}

/// LongRoPE (arXiv:2402.13753): measured factors, one list for short sequences and one for long ones.
void scale_longrope(const Scaling& scaling, double theta, double original_context, Rope& rope) {
  const std::vector<float> period = periods(theta, rope.dimensions);
  rope.frequencies = stretched(period, scaling.factors("short_factor", period.size()));
  rope.long_frequencies = stretched(period, scaling.factors("long_factor", period.size()));
  rope.trained_length = static_cast<std::int64_t>(original_context);
  const double factor = scaling.number_or("factor", static_cast<double>(rope.max_context) / original_context);
  const double usual = factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original_context));
  rope.scale = static_cast<float>(scaling.number_or("attention_factor", usual));
}

void scale_dynamic(const Scaling& scaling, double theta, const std::string& model, Rope& rope) {
  const double factor = scaling.positive("factor");
  if (factor < 1 || rope.dimensions <= 2) {
    fail(ErrorCode::model,
         "{}: rope_scaling is dynamic with factor {} over {} dimensions, expected 1 or more "
         "over more than 2",
         model, factor, rope.dimensions);
  }
  rope.dynamic = DynamicBase{theta, factor};
  rope.trained_length = rope.max_context;
  rope.max_context = static_cast<std::int64_t>(
      std::min(static_cast<double>(rope.max_context) * factor, static_cast<double>(1 << 24)));
}

/// The trained length before scaling. The configuration's own key goes before the scaling's.
double original_context(const Json& decoder, const Scaling& scaling, const Rope& rope) {
  const Json* stated = find_json(decoder, "rope_original_context");
  const double context =
      stated != nullptr && !stated->is_null()
          ? stated->get<double>()
          : scaling.number_or("original_max_position_embeddings", static_cast<double>(rope.max_context));
  return std::max(context, 2.0);
}

}  // namespace

bool Rope::same_frequencies(std::int64_t one_length, std::int64_t other_length) const {
  const bool one_is_long = one_length > trained_length;
  const bool other_is_long = other_length > trained_length;
  return one_is_long == other_is_long && !(one_is_long && dynamic);
}

float Rope::dynamic_base(std::int64_t length) const {
  const float growth =
      static_cast<float>(dynamic->factor) * static_cast<float>(length) / static_cast<float>(trained_length) -
      static_cast<float>(dynamic->factor - 1);
  const double exponent = static_cast<double>(dimensions) / static_cast<double>(dimensions - 2);
  return static_cast<float>(dynamic->theta) *
         static_cast<float>(std::pow(static_cast<double>(growth), exponent));
}

Rope describe_rope(const Json& decoder, std::int64_t head_size, const std::string& model) {
  Rope rope;
  const double theta = get_number(decoder, "rope_theta", 1, largest, model);
  const Json* part = find_json(decoder, "partial_rotary");
  const double fraction = part == nullptr ? 1 : get_number(decoder, "partial_rotary", 0, 1, model);
  rope.dimensions = static_cast<std::int64_t>(static_cast<double>(head_size) * fraction);
  if (rope.dimensions < 1 || rope.dimensions + rope.dimensions % 2 > head_size) {
    fail(ErrorCode::model, "{}: rotary positions turn {} of a head's {} elements, expected pairs of them",
         model, rope.dimensions, head_size);
  }
  rope.max_context = get_int(decoder, "max_context", 1, 1 << 24, model);
  const std::vector<float> period = periods(theta, rope.dimensions);
  rope.frequencies = stretched(period, std::vector<float>(period.size(), 1.0F));
  const Json* values = find_json(decoder, "rope_scaling");
  if (values == nullptr || values->is_null()) return rope;

  const Scaling scaling(*values, model + ": rope_scaling");
  const std::string type = get_string(*values, "type", model + ": rope_scaling");
  const double original = original_context(decoder, scaling, rope);
  if (type == "linear") {
    const auto factor = static_cast<float>(scaling.positive("factor"));
    for (float& frequency : rope.frequencies) frequency /= factor;
  } else if (type == "llama3") {
    scale_llama3(scaling, original, rope.frequencies);
  } else if (type == "longrope") {
    scale_longrope(scaling, theta, original, rope);
  } else if (type == "yarn") {
    scale_yarn(scaling, theta, original, rope);
  } else if (type == "dynamic") {
    scale_dynamic(scaling, theta, model, rope);
  } else {
    fail(ErrorCode::model,
         "{}: rope_scaling is of type \"{}\", expected linear, dynamic, llama3, longrope, su or yarn", model,
         printable(type));
  }
  return rope;
}

}  // namespace galago::model
