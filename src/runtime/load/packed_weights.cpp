#include "runtime/load/packed_weights.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>

#include "base/checksum.h"
#include "base/fail.h"
#include "runtime/network.h"

namespace galago::runtime {
namespace {

using memory::Region;
using memory::RegionId;

std::string hexadecimal(std::uint64_t number) {
  return fmt::format("{:016x}", number);
}

/// Everything that a tensor's bytes depend on, but what its files hold.
std::string describe(const checkpoint::Checkpoint& checkpoint, const std::string& name) {
  const checkpoint::TensorSource& source = checkpoint.tensors.at(name);
  std::string text = fmt::format(" {} {}@{}+{} {}", name, source.file, source.entry.offset,
                                 source.entry.bytes, source.entry.stored_as());
  for (const checkpoint::RowRun& run : source.rows) {
    text += fmt::format(" {}:{}:{}", run.first, run.count, run.step);
  }
  if (source.packing) {
    const checkpoint::Packing& packing = *source.packing;
    text += fmt::format(" packed {} {} {} {} {} {} {} {}", static_cast<int>(packing.kind), packing.bits,
                        packing.group, packing.zero_bias, packing.nested_group, packing.absmax_offset,
                        name_of(packing.rounded_to), describe(packing.format));
    for (const checkpoint::StoredTensor& part : packing.parts) {
      text += fmt::format(" {}@{}+{}", part.file, part.entry.offset, part.entry.bytes);
    }
  }
  const auto merges = checkpoint.merges.find(name);
  if (merges == checkpoint.merges.end()) return text;
  for (const checkpoint::Merge& merge : merges->second) {
    text += fmt::format(" +{}x{}", merge.rank, merge.scale);
    for (const char* factor : {".a", ".b"}) text += describe(checkpoint, merge.factors + factor);
  }
  return text;
}

/// Writes down what becomes of which weights, and counts their places.
class Recipe : public model::WeightSource {
 public:
  Recipe(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration)
      : checkpoint_(checkpoint), loader_(checkpoint, configuration, {region_, staging_}) {}

  Weight matrix(model::Part part, std::span<const model::NamedShape> tensors) override {
    return note(tensors, loader_.matrix(part, tensors));
  }
  Weight vector(std::span<const model::NamedShape> tensors) override {
    return note(tensors, loader_.vector(tensors));
  }
  Weight constant(std::span<const float> values) override {
    text_ += " constant " + hexadecimal(checksum(std::as_bytes(values)));
    return note({}, loader_.constant(values));
  }
  Weight derived(const model::NamedShape& tensor, const Shape& shape, const Make& make) override {
    return note({&tensor, 1}, loader_.derived(tensor, shape, make));
  }

  Bytes bytes() const { return region_.used(); }
  std::uint64_t digest() const { return checksum(std::as_bytes(std::span(text_))); }

 private:
  Weight note(std::span<const model::NamedShape> tensors, const Weight& weight) {
    for (const model::NamedShape& tensor : tensors) text_ += describe(checkpoint_, tensor.name);
    text_ += fmt::format(" {} [{}] to {}\n", galago::describe(weight.format), weight.shape.to_string(),
                         region_.used());
    return weight;
  }

  const checkpoint::Checkpoint& checkpoint_;
  Region region_ = Region::planning(RegionId::weights);
  Region staging_ = Region::planning(RegionId::staging);
  WeightLoader loader_;
  std::string text_;
};

/// Where the first of a file's tensors begins: all before it is headers.
Bytes header_bytes(const checkpoint::Checkpoint& checkpoint, std::size_t file) {
  constexpr Bytes most = 16 << 20;
  Bytes first = std::min<Bytes>(most, checkpoint.files[file].bytes().size());
  for (const auto& [name, source] : checkpoint.tensors) {
    if (!source.packing && source.file == file) first = std::min(first, source.entry.offset);
    if (!source.packing) continue;
    for (const checkpoint::StoredTensor& part : source.packing->parts) {
      if (part.file == file) first = std::min(first, part.entry.offset);
    }
  }
  return first;
}

Json describe_files(const checkpoint::Checkpoint& checkpoint) {
  Json files = Json::array();
  for (std::size_t i = 0; i < checkpoint.files.size(); ++i) {
    const MappedFile& file = checkpoint.files[i];
    struct stat status {};
    if (stat(file.path().c_str(), &status) != 0) {
      fail(ErrorCode::io, "{}: cannot be examined", file.path().string());
    }
    const auto nanoseconds =
        static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
    files.push_back({{"name", file.path().filename().string()},
                     {"bytes", file.bytes().size()},
                     {"modified", nanoseconds},
                     {"header", hexadecimal(checksum(file.bytes().first(header_bytes(checkpoint, i))))}});
  }
  return files;
}

}  // namespace

PackedWeights::PackedWeights(const checkpoint::Checkpoint& checkpoint, const model::Description& description,
                             const Configuration& configuration, memory::Arena& arena)
    : configuration_(configuration) {
  if (configuration.packed.empty() || arena.mode() == memory::Mode::plan) return;
  Recipe decoder(checkpoint, configuration);
  model::load_decoder(description.decoder, {0, description.decoder.n_layers}, decoder,
                      configuration.streamed_layers);
  sections_.push_back({"weights", decoder.bytes(), arena.region(RegionId::weights).take(0)});
  made_from_ = {
      {"files", describe_files(checkpoint)},
      {"precisions",
       {describe_format(configuration.decoder_format), describe_format(configuration.embeddings_format),
        describe_format(configuration.output_format), describe_format(configuration.tower_format)}},
      {"weights", hexadecimal(decoder.digest())}};
  if (description.tower) {
    Recipe tower(checkpoint, configuration);
    Network network;
    network.description = description;
    load_sight(network, tower);
    std::byte* const stays = configuration.tower_staged ? nullptr : arena.region(RegionId::tower).take(0);
    sections_.push_back({"tower", tower.bytes(), stays});
    made_from_["tower"] = hexadecimal(tower.digest());
  }
  contents_ = judge(map_packed(source(), configuration.host_threads));
}

WeightLoader::Contents PackedWeights::judge(const PackedResult& result) {
  to_use_ = result.state == PackedState::there;
  to_write_ = result.state == PackedState::absent || result.state == PackedState::refused;
  if (result.state == PackedState::refused) {
    spdlog::warn("{}: {}; it is written anew", configuration_.packed.string(), result.reason);
  } else if (result.state == PackedState::foreign) {
    spdlog::warn("{}: is no packed file of galago; it is left alone, and the weights are read from the model",
                 configuration_.packed.string());
  }
  return to_use_ ? WeightLoader::Contents::there : WeightLoader::Contents::read;
}

WeightLoader::Contents PackedWeights::bring_tower(memory::Region& region) {
  if (sections_.empty()) return WeightLoader::Contents::read;
  PackedSection& tower = sections_.back();
  tower.memory = region.take(0);
  if (!to_use_) return WeightLoader::Contents::read;
  return judge(
      copy_packed(source(), sections_.size() - 1, {tower.memory, tower.bytes}, configuration_.host_threads));
}

void PackedWeights::keep() {
  const auto is_there = [](const PackedSection& section) { return section.memory != nullptr; };
  if (!to_write_ || !std::all_of(sections_.begin(), sections_.end(), is_there)) return;
  to_write_ = false;
  try {
    write_packed(source(), configuration_.host_threads);
    to_use_ = true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::io) throw;
    spdlog::warn("{}; going on without a packed file", error.what());
  }
}

}  // namespace galago::runtime
