// Decoder layers that do not stay in memory: two slots, one of which is read into while the other computes.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "memory/region.h"
#include "model/decoder.h"
#include "runtime/configuration.h"
#include "runtime/weight_loader.h"

namespace galago::runtime {

class LayerStream : public model::LayerFeed {
 public:
  /// Takes slots, and room for conversions, from `weights`, and appends the layers from layers.size() on to
  /// `layers`; their weights are there after require() only. In plan mode places are counted. All arguments
  /// outlive the stream.
  LayerStream(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
              const model::DecoderShape& shape, memory::Region& weights,
              std::vector<model::DecoderLayer>& layers);
  ~LayerStream() override;
  LayerStream(const LayerStream&) = delete;
  LayerStream& operator=(const LayerStream&) = delete;

  /// Waits for the layer and has the next one read meanwhile. Throws what its reading threw.
  void require(std::size_t index) override;

 private:
  static constexpr std::size_t nothing = static_cast<std::size_t>(-1);

  struct Slot {
    Slot(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration, memory::Region place,
         memory::Region& staging);

    memory::Region weights;
    WeightLoader loader;
    std::size_t holds = nothing;
    model::DecoderLayer layer;
  };

  Slot& slot_of(std::size_t index) { return *slots_[(index - first_) % slots_.size()]; }
  /// Layer after layer, as they are asked for, until the stream ends.
  void read_on();
  void read(std::size_t index, Slot& slot);
  /// Asks for a layer, unless it is there; `lock` is held.
  void ask_for(std::size_t index);

  const model::DecoderShape& shape_;
  std::vector<model::DecoderLayer>& layers_;
  std::size_t first_;
  std::optional<memory::Region> staging_;
  std::array<std::optional<Slot>, 2> slots_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t wanted_ = nothing;
  bool ending_ = false;
  std::exception_ptr failure_;
  std::thread reader_;
};

}  // namespace galago::runtime
