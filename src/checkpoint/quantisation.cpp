// Reading what a checkpoint says about its quantisation.
#include "checkpoint/quantisation.h"

#include "base/fail.h"

namespace galago::checkpoint {
namespace {

/// A section of a configuration file, for values that may be absent.
struct Section {
  ConfigFiles& files;
  std::string prefix;

  ConfigFiles::Found find(const std::string& key) const { return files.find(prefix + key); }

  std::int64_t integer(const std::string& key, std::int64_t fallback) const {
    const ConfigFiles::Found found = find(key);
    if (!found.value) return fallback;
    constexpr std::int64_t most = std::int64_t{1} << 31;
    if (!found.value->is_number_integer() || *found.value < -1 || *found.value > most) {
      fail(ErrorCode::model, "{}: {} is {}, expected a whole number from -1 on", found.file, found.key,
           describe_json(*found.value));
    }
    return found.value->get<std::int64_t>();
  }

  /// Throws unless the value is absent or `expected`.
  void require(const std::string& key, const Json& expected) const {
    const ConfigFiles::Found found = find(key);
    if (!found.value || *found.value == expected) return;
    fail(ErrorCode::model, "{}: {} is {}, expected {}", found.file, found.key, describe_json(*found.value),
         describe_json(expected));
  }

  bool says(const std::string& key, const Json& value) const {
    const ConfigFiles::Found found = find(key);
    return found.value && *found.value == value;
  }
};

std::int64_t group_of(const Section& section, const std::string& key, std::int64_t fallback) {
  const std::int64_t group = section.integer(key, fallback);
  if (group == 0) {
    fail(ErrorCode::model, "{}: {} is 0, expected -1 or 1 and more", section.find(key).file,
         section.find(key).key);
  }
  return group < 0 ? 0 : group;
}

Quantisation read_awq(const Section& section, const std::string& bits, const std::string& group) {
  section.require("version", section.says("version", "GEMM") ? "GEMM" : "gemm");
  section.require(bits, 4);
  section.require("zero_point", true);
  return {Quantisation::Method::awq, 4, group_of(section, group, 128), 0};
}

Quantisation read_gptq(const Section& section) {
  const std::int64_t bits = section.integer("bits", 4);
  if (bits != 4 && bits != 8) {
    fail(ErrorCode::model, "{}: {} is {}, expected 4 or 8", section.find("bits").file,
         section.find("bits").key, bits);
  }
  const bool second = section.says("checkpoint_format", "gptq_v2");
  if (!second) section.require("checkpoint_format", "gptq");
  return {Quantisation::Method::gptq, static_cast<int>(bits), group_of(section, "group_size", 128),
          second ? 0 : 1};
}

Quantisation read_bitsandbytes(const Section& section) {
  if (section.says("load_in_4bit", true)) section.require("bnb_4bit_quant_type", "nf4");
  return {Quantisation::Method::bitsandbytes, 4, 0, 0};
}

}  // namespace

std::optional<Quantisation> read_quantisation(ConfigFiles& files) {
  for (const std::string prefix : {"quantization_config.", "text_config.quantization_config."}) {
    const Section section{files, prefix};
    const ConfigFiles::Found method = section.find("quant_method");
    if (!method.value) continue;
    if (*method.value == "awq") return read_awq(section, "bits", "group_size");
    if (*method.value == "gptq") return read_gptq(section);
    if (*method.value == "bitsandbytes") return read_bitsandbytes(section);
    if (*method.value == "galago") return Quantisation{Quantisation::Method::galago, 0, 0, 0};
    fail(ErrorCode::model, "{}: {} is {}, expected \"awq\", \"gptq\", \"bitsandbytes\" or \"galago\"",
         method.file, method.key, describe_json(*method.value));
  }
  if (files.find("quantize_config.json:bits").value) return read_gptq({files, "quantize_config.json:"});
  if (files.find("quant_config.json:w_bit").value) {
    return read_awq({files, "quant_config.json:"}, "w_bit", "q_group_size");
  }
  return std::nullopt;
}

}  // namespace galago::checkpoint
