// Decoder layers that do not stay in memory: two slots, one of which is read into while the other computes.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "memory/arena.h"
#include "model/decoder.h"
#include "runtime/load/weight_loader.h"
#include "runtime/plan/configuration.h"

namespace galago::runtime {

class LayerStream : public model::LayerFeed {
 public:
  static constexpr std::size_t n_slots = 2;

  /// Takes slots from the arena's weights, and room for conversions there too or, on a device, of staging,
  /// for good; and appends the layers that the decoder's part lacks to it: their weights are there after
  /// require() only. In plan mode places are counted. All arguments outlive the stream.
  LayerStream(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
              memory::Arena& arena, model::Decoder& decoder);
  ~LayerStream() override;
  LayerStream(const LayerStream&) = delete;
  LayerStream& operator=(const LayerStream&) = delete;

  /// Waits for the layer and has the next one read meanwhile. On a device the work that follows waits, not
  /// the caller: for the last copy. Throws what its reading threw.
  void require(std::size_t index) override;

 private:
  static constexpr std::size_t nothing = static_cast<std::size_t>(-1);

  struct Slot {
    memory::Region weights;
    std::size_t holds = nothing;
    model::DecoderLayer layer;
    // On a device: copies to the slot wait for the work that reads it, and the other way round.
    std::unique_ptr<memory::Mark> free, arrived;
  };

  Slot make_slot(memory::Region& from, Bytes bytes) const;
  Slot& slot_of(std::size_t index) { return *slots_[(index - first_) % slots_.size()]; }
  /// Layer after layer, as they are asked for, until the stream ends.
  void read_on();
  void read(std::size_t index, Slot& slot);
  /// Asks for a layer, unless it is there, in a slot that no work handed in later reads; `lock` is held.
  void ask_for(std::size_t index);

  /// By its number in the decoder's part.
  model::DecoderLayer load(std::size_t index, WeightLoader& loader) const;

  model::Decoder& decoder_;
  std::size_t first_;
  std::optional<memory::Region> staging_;
  std::array<std::optional<Slot>, n_slots> slots_;
  std::optional<WeightLoader> loader_;  // turned to one slot after the other

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t wanted_ = nothing;
  bool ending_ = false;
  std::exception_ptr failure_;
  std::thread reader_;
};

}  // namespace galago::runtime
