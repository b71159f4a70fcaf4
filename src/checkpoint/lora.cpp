#include "checkpoint/lora.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/printable.h"
#include "checkpoint/family.h"
#include "checkpoint/tensor_names.h"

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view module_prefix = "base_model.model.";

/// Kinds of adapters that change more than low-rank products: a key and what it must say, if it is there.
void check_kind(const Json& config, const std::string& file) {
  const std::pair<const char*, Json> plain[] = {{"use_dora", false},
                                                {"bias", "none"},
                                                {"lora_bias", false},
                                                {"fan_in_fan_out", false},
                                                {"use_qalora", false},
                                                {"modules_to_save", Json::array()},
                                                {"target_parameters", Json::array()},
                                                {"trainable_token_indices", Json::array()},
                                                {"layer_replication", Json::array()}};
  if (get_string(config, "peft_type", file) != "LORA") {
    fail(ErrorCode::model, "{}: the adapter is of type {}, expected LORA", file,
         describe_json(config.at("peft_type")));
  }
  for (const auto& [key, expected] : plain) {
    const Json* value = find_json(config, key);
    if (value == nullptr || value->is_null() || *value == expected) continue;
    fail(ErrorCode::model, "{}: {} is {}, which Galago does not compute; expected {}", file, key,
         describe_json(*value), expected.dump());
  }
}

/// A number for one module: a pattern's where one names the end of the module's path, or the general one.
double number_for(const Json& config, const char* patterns, const char* general, const std::string& module,
                  const std::string& file) {
  const Json* list = find_json(config, patterns);
  if (list != nullptr && list->is_object()) {
    for (const auto& [key, value] : list->items()) {
      if (key.find_first_of("\\^$*+?()[]{}|") != key.npos) {
        fail(ErrorCode::model, "{}: {} has the regular expression {}, expected ends of module names", file,
             patterns, printable(key));
      }
      const bool whole = module == key;
      const bool ends = module.size() > key.size() && module.ends_with(key) &&
                        module[module.size() - key.size() - 1] == '.';
      if (!whole && !ends) continue;
      if (value.is_number() && value.get<double>() > 0 && value.get<double>() <= 1e6)
        return value.get<double>();
      fail(ErrorCode::model, "{}: {}.{} is {}, expected a positive number", file, patterns, printable(key),
           describe_json(value));
    }
  }
  return get_number(config, general, 1e-6, 1e6, file);
}

/// A tensor's module and which factor it is; nothing for another kind of tensor.
struct FactorName {
  std::string module;
  char factor;  // 'A' or 'B'
};

std::optional<FactorName> factor_name(const std::string& tensor) {
  for (const char factor : {'A', 'B'}) {
    for (const char* adapter : {".", ".default."}) {
      std::string end = ".lora_";
      end.append(1, factor).append(adapter).append("weight");
      if (!tensor.starts_with(module_prefix) || !tensor.ends_with(end)) continue;
      if (tensor.size() <= module_prefix.size() + end.size()) continue;
      return FactorName{
          tensor.substr(module_prefix.size(), tensor.size() - module_prefix.size() - end.size()), factor};
    }
  }
  return std::nullopt;
}

/// The two factors of one module.
struct Factors {
  std::optional<TensorEntry> a, b;
};

std::map<std::string, Factors> read_factors(const MappedFile& file, const std::string& path) {
  std::map<std::string, Factors> modules;
  for (TensorEntry& entry : read_safetensors_header(file.bytes(), path)) {
    const auto name = factor_name(entry.name);
    if (!name || entry.shape.rank() != 2) {
      fail(ErrorCode::model,
           "{}: tensor {} {} is no factor of a linear layer, expected matrices called "
           "base_model.model.MODULE.lora_A.weight and .lora_B.weight",
           path, printable(entry.name), entry.shape.to_string());
    }
    Factors& factors = modules[name->module];
    (name->factor == 'A' ? factors.a : factors.b) = std::move(entry);
  }
  if (modules.empty()) fail(ErrorCode::model, "{}: the adapter has no tensors", path);
  return modules;
}

const Family& family_of(const Checkpoint& base, const std::string& path) {
  for (const Family& family : known_families()) {
    if (family.name == base.family) return family;
  }
  fail(ErrorCode::model, "{}: adapters go with a directory of safetensors, not with {}", path,
       base.directory.string());
}

/// Whether the canonical matrix is one that branches can stand beside.
bool is_adaptable(const CanonicalName& tensor, const Json& config) {
  static const char* const matrices[] = {".attn.q.weight",  ".attn.k.weight",   ".attn.v.weight",
                                         ".attn.o.weight",  ".mlp.gate.weight", ".mlp.up.weight",
                                         ".mlp.down.weight"};
  if (!tensor.layer || !tensor.name.starts_with("decoder.")) return false;
  if (*tensor.layer >= find_json(config, "decoder.n_layers")->get<std::int64_t>()) return false;
  return std::any_of(std::begin(matrices), std::end(matrices),
                     [&](const char* end) { return tensor.name.ends_with(end); });
}

/// An adapter directory's files, checked for what Galago computes.
struct AdapterFiles {
  std::string config_path, path;
  Json config;
};

AdapterFiles open_adapter(const fs::path& directory) {
  AdapterFiles files{
      (directory / "adapter_config.json").string(), (directory / "adapter_model.safetensors").string(), {}};
  for (const std::string& file : {files.config_path, files.path}) {
    if (!fs::exists(file)) fail(ErrorCode::model, "{}: is missing, expected a PEFT adapter there", file);
  }
  files.config = parse_json_file(files.config_path);
  if (!files.config.is_object()) fail(ErrorCode::model, "{}: is no object", files.config_path);
  check_kind(files.config, files.config_path);
  return files;
}

LoraBranch branch_of(const AdapterFiles& files, const std::string& module, const Factors& factors) {
  if (!factors.a || !factors.b) {
    fail(ErrorCode::model, "{}: {} has only one of its two factors", files.path, printable(module));
  }
  const std::int64_t rank = factors.a->shape[0];
  const double stated = number_for(files.config, "rank_pattern", "r", module, files.config_path);
  if (static_cast<double>(rank) != stated || factors.b->shape[1] != rank) {
    fail(ErrorCode::model, "{}: the factors of {} have shapes {} and {}, {} states the rank {}", files.path,
         printable(module), factors.a->shape.to_string(), factors.b->shape.to_string(), files.config_path,
         stated);
  }
  const double alpha = number_for(files.config, "alpha_pattern", "lora_alpha", module, files.config_path);
  const Json* stabilised = find_json(files.config, "use_rslora");
  const bool by_root = stabilised != nullptr && *stabilised == true;  // arXiv:2312.03732
  return {rank, alpha / (by_root ? std::sqrt(stated) : stated)};
}

/// The canonical matrices that a module of the base holds, with the rows of B that belong to each.
std::vector<CanonicalTensor> targets_of(const Checkpoint& base, const Family& family,
                                        const AdapterFiles& files, const std::string& module,
                                        const TensorEntry& b) {
  TensorSource stored{base.files.size(), b, b.shape, {}};
  stored.entry.name = module;
  stored.entry.name.append(".weight");  // as the base calls the matrix beside which the branch stands
  std::vector<CanonicalTensor> targets = canonical_tensors(family, stored, base.config, files.path);
  if (targets.empty() || !is_adaptable(targets.front().name, base.config)) {
    fail(ErrorCode::model,
         "{}: adapts {}, which is no linear layer of the decoder in {} ({}): the adapter belongs to another "
         "base",
         files.path, printable(module), base.directory.string(), base.family);
  }
  return targets;
}

}  // namespace

LoraBranches add_lora(Checkpoint& base, const fs::path& directory, const std::string& prefix) {
  const AdapterFiles files = open_adapter(directory);
  MappedFile file(files.path);
  const Family& family = family_of(base, files.path);
  LoraBranches branches;
  for (const auto& [module, factors] : read_factors(file, files.path)) {
    const LoraBranch branch = branch_of(files, module, factors);
    for (CanonicalTensor& target : targets_of(base, family, files, module, *factors.b)) {
      std::string matrix = target.name.name;
      matrix.resize(matrix.size() - std::string_view(".weight").size());
      if (!branches.emplace(matrix, branch).second) {
        fail(ErrorCode::model, "{}: two of its tensors adapt {}", files.path, matrix);
      }
      target.source.entry.name = factors.b->name;
      base.tensors.emplace(prefix + matrix + ".a",
                           TensorSource{base.files.size(), *factors.a, factors.a->shape, {}});
      base.tensors.emplace(prefix + matrix + ".b", std::move(target.source));
    }
  }
  base.files.push_back(std::move(file));
  return branches;
}

}  // namespace galago::checkpoint
