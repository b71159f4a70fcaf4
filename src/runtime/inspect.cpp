// What a checkpoint is made of, with every tensor accounted for.
#include <map>
#include <string>
#include <utility>

#include "backend/cpu/kernel_choice.h"
#include "checkpoint/checkpoint.h"
#include "galago/engine.h"
#include "model/description.h"
#include "runtime/chat_choice.h"
#include "runtime/load/asked_weights.h"
#include "runtime/load/model_path.h"
#include "runtime/load/model_tokenizer.h"
#include "runtime/network.h"

namespace galago {
namespace {

InspectedTensor inspected(const checkpoint::TensorEntry& entry, const std::string& canonical,
                          const std::string& note) {
  InspectedTensor tensor{entry.name, canonical, std::string(entry.stored_as()), {}, entry.bytes, note};
  for (std::size_t i = 0; i < entry.shape.rank(); ++i) tensor.shape.push_back(entry.shape[i]);
  return tensor;
}

/// Lists each stored tensor once, with all canonical ones that it holds.
void account_for_tensors(const checkpoint::Checkpoint& checkpoint, const std::map<std::string, Shape>& asked,
                         Inspection& inspection) {
  using Stored = std::pair<std::size_t, std::string>;  // file and name
  std::map<Stored, std::pair<const checkpoint::TensorSource*, std::string>> tensors;
  for (const auto& [canonical, source] : checkpoint.tensors) {
    auto& [stored, names] = tensors[{source.file, source.entry.name}];
    stored = &source;
    if (!asked.contains(canonical)) continue;
    inspection.parameters += static_cast<std::uint64_t>(source.shape.elements());
    names += (names.empty() ? "" : ", ") + canonical;
  }
  for (const auto& [key, tensor] : tensors) {
    const auto& [source, names] = tensor;
    auto& list = names.empty() ? inspection.ignored : inspection.used;
    list.push_back(inspected(source->entry, names, names.empty() ? "the computation does not reach it" : ""));
    if (source->packing) list.back().dtype = describe(source->format());
  }
}

}  // namespace

Inspection inspect_model(const std::filesystem::path& model, const std::filesystem::path& mmproj) {
  const checkpoint::ModelPath path = runtime::model_path(model, mmproj);
  const std::filesystem::path& directory = path.model;
  const checkpoint::Checkpoint checkpoint = checkpoint::open_checkpoint(directory, path.projector);
  runtime::AskedWeights asked;
  runtime::load_network(model::describe(checkpoint.config, directory.string()), asked);

  Inspection inspection;
  inspection.model = directory.string();
  inspection.family = checkpoint.family;
  const runtime::ChatChoice chat =
      runtime::choose_chat_format("", checkpoint.config, directory, runtime::find_model_template(directory));
  inspection.chat_format =
      chat.refusal.empty() ? chat.format.name() : std::string("unknown, its template is not a known one");
  inspection.configuration = checkpoint.config.dump(2);
  inspection.instruction_set = backend::choose_kernels().name;
  account_for_tensors(checkpoint, asked.shapes(), inspection);
  for (const auto& [entry, reason] : checkpoint.ignored)
    inspection.ignored.push_back(inspected(entry, "", reason));
  for (const checkpoint::TensorEntry& entry : checkpoint.unknown) {
    inspection.unknown.push_back(inspected(entry, "", "the family's description does not know it"));
  }
  for (const auto& [name, shape] : asked.shapes()) {
    if (!checkpoint.tensors.contains(name)) inspection.missing.push_back(name);
  }
  return inspection;
}

}  // namespace galago
