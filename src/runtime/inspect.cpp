// What a checkpoint is made of, with every tensor accounted for.
#include <map>
#include <set>
#include <utility>

#include "backend/cpu/kernel_choice.h"
#include "checkpoint/checkpoint.h"
#include "galago/engine.h"
#include "model/description.h"
#include "runtime/network.h"

namespace galago {
namespace {

/// Writes down which weights a network asks for; nothing is read and nothing takes memory.
class AskedFor : public model::WeightSource {
 public:
  Weight matrix(model::Part /*part*/, std::span<const model::NamedShape> tensors) override {
    return note(tensors);
  }
  Weight vector(std::span<const model::NamedShape> tensors) override { return note(tensors); }
  Weight constant(std::span<const float> values) override {
    return {nullptr, DType::f32, {static_cast<std::int64_t>(values.size())}};
  }

  const std::set<std::string>& names() const { return names_; }

 private:
  Weight note(std::span<const model::NamedShape> tensors) {
    for (const model::NamedShape& tensor : tensors) names_.insert(tensor.name);
    return {nullptr, DType::f32, tensors.front().shape};
  }

  std::set<std::string> names_;
};

InspectedTensor inspected(const checkpoint::TensorEntry& entry, const std::string& canonical,
                          const std::string& note) {
  InspectedTensor tensor{entry.name, canonical, std::string(name_of(entry.dtype)), {}, entry.bytes, note};
  for (std::size_t i = 0; i < entry.shape.rank(); ++i) tensor.shape.push_back(entry.shape[i]);
  return tensor;
}

/// Lists each stored tensor once, with all canonical ones that it holds.
void account_for_tensors(const checkpoint::Checkpoint& checkpoint, const std::set<std::string>& asked,
                         Inspection& inspection) {
  using Stored = std::pair<std::size_t, std::string>;  // file and name
  std::map<Stored, std::pair<const checkpoint::TensorEntry*, std::string>> tensors;
  for (const auto& [canonical, source] : checkpoint.tensors) {
    auto& [entry, names] = tensors[{source.file, source.entry.name}];
    entry = &source.entry;
    if (asked.count(canonical) == 0) continue;
    inspection.parameters += static_cast<std::uint64_t>(source.shape.elements());
    names += (names.empty() ? "" : ", ") + canonical;
  }
  for (const auto& [stored, tensor] : tensors) {
    const auto& [entry, names] = tensor;
    if (names.empty()) {
      inspection.ignored.push_back(inspected(*entry, "", "the computation does not reach it"));
    } else {
      inspection.used.push_back(inspected(*entry, names, ""));
    }
  }
}

}  // namespace

Inspection inspect_model(const std::filesystem::path& model) {
  const std::filesystem::path directory = model.empty() ? demo_model() : model;
  const checkpoint::Checkpoint checkpoint = checkpoint::open_checkpoint(directory);
  AskedFor asked;
  runtime::load_network(model::describe(checkpoint.config, directory.string()), asked);

  Inspection inspection;
  inspection.model = directory.string();
  inspection.family = checkpoint.family;
  inspection.chat_format = checkpoint.config.value("chat", "");
  inspection.configuration = checkpoint.config.dump(2);
  inspection.instruction_set = backend::choose_kernels().name;
  account_for_tensors(checkpoint, asked.names(), inspection);
  for (const auto& [entry, reason] : checkpoint.ignored)
    inspection.ignored.push_back(inspected(entry, "", reason));
  for (const checkpoint::TensorEntry& entry : checkpoint.unknown) {
    inspection.unknown.push_back(inspected(entry, "", "the family's description does not know it"));
  }
  for (const std::string& name : asked.names()) {
    if (checkpoint.tensors.find(name) == checkpoint.tensors.end()) inspection.missing.push_back(name);
  }
  return inspection;
}

}  // namespace galago
