#include "runtime/plan/layer_split.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "base/fail.h"
#include "runtime/load/layer_stream.h"
#include "runtime/load/weight_loader.h"
#include "runtime/plan/machine.h"

namespace galago::runtime {
namespace {

using memory::RegionId;

/// What each layer's weights take, and what adapters have beside it, which is never streamed.
struct LayerBytes {
  Bytes layer = 0;
  Bytes adapters = 0;
};

std::vector<LayerBytes> layer_bytes(const Blueprint& model, const Configuration& configuration) {
  memory::Region weights = memory::Region::planning(RegionId::weights);
  memory::Region staging = memory::Region::planning(RegionId::staging);
  WeightLoader loader(model.checkpoint, configuration, {weights, staging});
  const model::DecoderShape& shape = model.description.decoder;
  std::vector<LayerBytes> bytes;
  for (std::int64_t i = 0; i < shape.n_layers; ++i) {
    const model::LayerRange layer{i, i + 1};
    weights.release_to(0);
    model::load_decoder_layer(shape, i, loader);
    const Bytes of_layer = weights.used();
    if (shape.picture_branches) model::load_picture_adapter(shape, layer, loader);
    for (const model::AdapterShape& adapter : shape.adapters) {
      model::load_adapter(shape, layer, adapter, loader);
    }
    bytes.push_back({of_layer, weights.used() - of_layer});
  }
  return bytes;
}

/// As even as whole layers can be.
std::vector<std::int64_t> even_split(std::int64_t n_layers, std::size_t n_devices) {
  std::vector<std::int64_t> layers;
  const auto n = static_cast<std::int64_t>(n_devices);
  for (std::int64_t i = 0; i < n; ++i) layers.push_back(n_layers * (i + 1) / n - n_layers * i / n);
  return layers;
}

/// What a way to spread layers comes to; the first difference decides which of two is better.
struct Load {
  double excess = 1;         // of the device that is most beyond its share; 1: of none
  std::int64_t on_rest = 0;  // layers on devices that get what others have no room for
  double fullness = 0;       // of the fullest other device

  bool operator<(const Load& other) const {
    return std::tie(excess, on_rest, fullness) < std::tie(other.excess, other.on_rest, other.fullness);
  }
};

Load join(const Load& a, const Load& b) {
  return {std::max(a.excess, b.excess), a.on_rest + b.on_rest, std::max(a.fullness, b.fullness)};
}

/// Layers on the devices so far.
struct Spread {
  Load load;
  std::vector<std::int64_t> layers;
};

}  // namespace

/// What devices take with other layers than those that were rehearsed: weights and pages go with the layers,
/// everything else stays.
class LayerSplit::Sizes {
 public:
  Sizes(const Blueprint& model, const Configuration& configuration, const Rehearsal& rehearsal)
      : configuration_(configuration),
        rehearsal_(rehearsal),
        layers_(layer_bytes(model, configuration)),
        layer_page_bytes_(model::layout_pages(model.description.decoder, 1, configuration.kv_format,
                                              configuration.page_tokens)
                              .page_bytes) {}

  Bytes bytes_on(std::size_t device, const model::LayerRange& layers) const {
    StageRehearsal stage = rehearsal_.stages[device];
    const Bytes others = rehearsal_.bytes_on(device) - stage.own_bytes();
    const Bytes weights_now = weights(configuration_.layers_of(device));
    // A phase that was not gone through has nothing.
    for (memory::RegionSizes& phase : stage.memory.by_phase) {
      Bytes& kv = phase[static_cast<std::size_t>(RegionId::kv)];
      if (kv > 0) kv = pages(layers.count());
      Bytes& of_weights = phase[static_cast<std::size_t>(RegionId::weights)];
      if (of_weights > 0) of_weights = of_weights - weights_now + weights(layers);
    }
    return stage.own_bytes() + others;
  }

 private:
  Bytes weights(const model::LayerRange& layers) const {
    const std::int64_t resident_end = layers.end - configuration_.streamed_of(layers);
    Bytes sum = 0;
    Bytes slot = 0;
    for (std::int64_t i = layers.first; i < layers.end; ++i) {
      const LayerBytes& bytes = layers_[static_cast<std::size_t>(i)];
      sum += bytes.adapters + (i < resident_end ? bytes.layer : 0);
      if (i >= resident_end) slot = std::max(slot, bytes.layer);
    }
    return sum + LayerStream::n_slots * slot;
  }
  Bytes pages(std::int64_t n_layers) const {
    return memory::whole_blocks(static_cast<Bytes>(configuration_.n_pages() * n_layers) * layer_page_bytes_);
  }

  const Configuration& configuration_;
  const Rehearsal& rehearsal_;
  std::vector<LayerBytes> layers_;
  Bytes layer_page_bytes_;
};

LayerSplit::LayerSplit(const Blueprint& model, const EngineOptions& options,
                       const backend::Backends& backends, const OutsideBytes& outside)
    : model_(model), options_(options), backends_(backends), outside_(outside) {
  for (std::size_t i = 0; i < backends.size(); ++i) {
    shares_.push_back(options.split.empty() ? free_share(backends[i], options.memory_limit)
                                            : Share{options.split[i]});
  }
}

LayerSplit::Share LayerSplit::free_share(backend::Backend& backend, Bytes budget) const {
  if (backend.device_memory() != nullptr) {
    const memory::DeviceRoom room = backend.device_memory()->room();
    return {room.free + room.driver};
  }
  constexpr Bytes unknown = std::numeric_limits<Bytes>::max();
  const Bytes available = available_memory();
  return {std::min(available > 0 ? available : unknown, budget > 0 ? budget : unknown), true};
}

void LayerSplit::describe(Plan& plan) const {
  if (shares_.size() == 1) return;
  for (std::size_t i = 0; i < shares_.size(); ++i) plan.devices[i].share_bytes = shares_[i].bytes;
}

Rehearsal LayerSplit::settle(Configuration& configuration) const {
  const std::int64_t n_layers = model_.description.decoder.n_layers;
  if (n_layers < static_cast<std::int64_t>(backends_.size())) {
    fail(ErrorCode::usage, "{} devices were named for a decoder of {} layers: each takes one at least",
         backends_.size(), n_layers);
  }
  // What else than its layers a device takes may depend on them a little, so the choice is looked at again.
  constexpr int most_looks = 3;
  configuration.stage_layers = even_split(n_layers, backends_.size());
  for (int look = 0;; ++look) {
    Rehearsal rehearsal = rehearse(model_, configuration, backends_);
    rehearsal.outside = outside_;
    if (backends_.size() == 1 || look == most_looks) return rehearsal;
    std::vector<std::int64_t> layers = choose(configuration, rehearsal);
    if (layers == configuration.stage_layers) return rehearsal;
    configuration.stage_layers = std::move(layers);
  }
}

std::vector<std::int64_t> LayerSplit::choose(const Configuration& configuration,
                                             const Rehearsal& rehearsal) const {
  const Sizes sizes(model_, configuration, rehearsal);
  const auto load_of = [&](std::size_t device, const model::LayerRange& layers) -> Load {
    const Share& share = shares_[device];
    const double part =
        static_cast<double>(sizes.bytes_on(device, layers)) / static_cast<double>(share.bytes);
    return {std::max(part, 1.0), share.rest ? layers.count() : 0, share.rest ? 0 : part};
  };
  const auto n_layers = static_cast<std::size_t>(model_.description.decoder.n_layers);
  // By how many layers lie on the devices so far.
  std::vector<std::optional<Spread>> best(n_layers + 1);
  best[0] = Spread{};
  for (std::size_t device = 0; device < shares_.size(); ++device) {
    std::vector<std::optional<Spread>> next(n_layers + 1);
    for (std::size_t first = 0; first < n_layers; ++first) {
      if (!best[first]) continue;
      for (std::size_t end = first + 1; end <= n_layers; ++end) {
        const model::LayerRange layers{static_cast<std::int64_t>(first), static_cast<std::int64_t>(end)};
        const Load load = join(best[first]->load, load_of(device, layers));
        if (next[end] && !(load < next[end]->load)) continue;
        next[end] = Spread{load, best[first]->layers};
        next[end]->layers.push_back(layers.count());
      }
    }
    best = std::move(next);
  }
  return best[n_layers]->layers;
}

bool LayerSplit::fits(const Rehearsal& rehearsal) const {
  if (backends_.size() == 1) return true;
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    if (rehearsal.bytes_on(i) > shares_[i].bytes) return false;
  }
  return true;
}

void LayerSplit::check(const Configuration& configuration, const Rehearsal& rehearsal) const {
  if (fits(rehearsal)) return;
  const auto excess = [&](std::size_t i) {
    return static_cast<double>(rehearsal.bytes_on(i)) / static_cast<double>(shares_[i].bytes);
  };
  std::size_t worst = 0;
  for (std::size_t i = 1; i < shares_.size(); ++i) worst = excess(i) > excess(worst) ? i : worst;
  const Sizes sizes(model_, configuration, rehearsal);
  const model::LayerRange layers = configuration.layers_of(worst);
  std::int64_t n_fit = layers.count();
  while (n_fit > 0 && sizes.bytes_on(worst, {layers.first, layers.first + n_fit}) > shares_[worst].bytes) {
    --n_fit;
  }
  const Bytes needed = rehearsal.bytes_on(worst);
  fail(ErrorCode::memory,
       "{}: {} has {} bytes for it{} and needs {} with {} of the {} layers: {} too few; {} layers would fit "
       "there",
       model_.checkpoint.directory.string(), backends_[worst].name(), shares_[worst].bytes,
       options_.split.empty() ? "" : " (--split)", needed, layers.count(),
       model_.description.decoder.n_layers, needed - shares_[worst].bytes, n_fit);
}

}  // namespace galago::runtime
