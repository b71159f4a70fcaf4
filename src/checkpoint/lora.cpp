#include "checkpoint/lora.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/printable.h"
#include "checkpoint/family.h"
#include "checkpoint/lora_numbers.h"
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

const Family* find_family(std::string_view name) {
  const auto& known = known_families();
  const auto found =
      std::find_if(known.begin(), known.end(), [&](const Family& family) { return family.name == name; });
  return found == known.end() ? nullptr : &*found;
}

/// The families by whose names an adapter's modules go: the base's own, or those that it was converted from.
std::vector<const Family*> naming_families(const Checkpoint& base, const std::string& path) {
  std::vector<const Family*> families;
  std::string_view rest = base.family;
  // A tower in a file of its own has a family of its own: "gguf-llama + gguf-llava-1.5".
  while (!rest.empty()) {
    const std::string_view name = rest.substr(0, rest.find(" + "));
    rest.remove_prefix(std::min(rest.size(), name.size() + 3));
    const Family* family = find_family(name);
    if (family == nullptr) continue;
    if (family->adapters_named_by.empty()) families.push_back(family);
    for (const std::string& other : family->adapters_named_by) families.push_back(find_family(other));
  }
  std::erase(families, nullptr);
  if (families.empty()) {
    fail(ErrorCode::model, "{}: adapters go with a model's own files, not with {}", path,
         base.directory.string());
  }
  return families;
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
  ModuleNumbers ranks, alphas;
  bool by_root;  // scaled by the square root of the rank (arXiv:2312.03732)
};

AdapterFiles open_adapter(const fs::path& directory) {
  constexpr std::size_t max_bytes = std::size_t{1} << 20;
  const std::string config_path = (directory / "adapter_config.json").string();
  const std::string path = (directory / "adapter_model.safetensors").string();
  if (fs::exists(directory / "adapter_model.bin") && !fs::exists(path)) {
    fail(ErrorCode::model,
         "{}: has adapter_model.bin but no adapter_model.safetensors: convert it with PEFT (save_pretrained "
         "writes safetensors)",
         directory.string());
  }
  for (const std::string& file : {config_path, path}) {
    if (!fs::exists(file)) fail(ErrorCode::model, "{}: is missing, expected a PEFT adapter there", file);
  }
  const std::string text = read_text_file(config_path, max_bytes);
  const Json config = parse_json(text, config_path);
  if (!config.is_object()) fail(ErrorCode::model, "{}: is no object", config_path);
  check_kind(config, config_path);
  const Json* stabilised = find_json(config, "use_rslora");
  const auto ordered = OrderedJson::parse(text);
  return {config_path, path, ModuleNumbers(ordered, "rank_pattern", "r", config_path),
          ModuleNumbers(ordered, "alpha_pattern", "lora_alpha", config_path),
          stabilised != nullptr && *stabilised == true};
}

LoraBranch branch_of(const AdapterFiles& files, const std::string& module, const Factors& factors) {
  if (!factors.a || !factors.b) {
    fail(ErrorCode::model, "{}: {} has only one of its two factors", files.path, printable(module));
  }
  const std::int64_t rank = factors.a->shape[0];
  const double stated = files.ranks.of(module);
  if (static_cast<double>(rank) != stated || factors.b->shape[1] != rank) {
    fail(ErrorCode::model, "{}: the factors of {} have shapes {} and {}, {} states the rank {}", files.path,
         printable(module), factors.a->shape.to_string(), factors.b->shape.to_string(), files.config_path,
         stated);
  }
  return {rank, files.alphas.of(module) / (files.by_root ? std::sqrt(stated) : stated)};
}

/// The canonical matrices that a module of the base holds, with the rows of B that belong to each.
std::vector<CanonicalTensor> targets_of(const Checkpoint& base, std::span<const Family* const> families,
                                        const AdapterFiles& files, const std::string& module,
                                        const TensorEntry& b) {
  TensorSource stored{base.files.size(), b, b.shape, {}};
  stored.entry.name = module;
  stored.entry.name.append(".weight");  // as the base calls the matrix beside which the branch stands
  std::vector<CanonicalTensor> targets;
  for (const Family* family : families) {
    targets = canonical_tensors(*family, stored, base.config, files.path);
    if (!targets.empty()) break;
  }
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
  const std::vector<const Family*> families = naming_families(base, files.path);
  LoraBranches branches;
  for (const auto& [module, factors] : read_factors(file, files.path)) {
    const LoraBranch branch = branch_of(files, module, factors);
    for (CanonicalTensor& target : targets_of(base, families, files, module, *factors.b)) {
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
