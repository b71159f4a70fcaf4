#include "runtime/layer_stream.h"

#include <algorithm>
#include <utility>

namespace galago::runtime {

using memory::Region;
using memory::RegionId;

LayerStream::Slot::Slot(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
                        Region place, Region& staging)
    : weights(std::move(place)), loader(checkpoint, configuration, {weights, staging}) {}

LayerStream::LayerStream(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
                         const model::DecoderShape& shape, Region& weights,
                         std::vector<model::DecoderLayer>& layers)
    : shape_(shape), layers_(layers), first_(layers.size()) {
  Region counted = Region::planning(RegionId::weights);
  Region counted_staging = Region::planning(RegionId::staging);
  WeightLoader counter(checkpoint, configuration, {counted, counted_staging});
  for (auto i = static_cast<std::int64_t>(first_); i < shape.n_layers; ++i) {
    counted.release_to(0);
    layers_.push_back(model::load_decoder_layer(shape, i, counter));
  }
  const auto place = [&](Bytes bytes) {
    std::byte* const memory = weights.take(bytes);
    return memory == nullptr ? Region::planning(RegionId::weights)
                             : Region::within(RegionId::weights, {memory, bytes});
  };
  staging_.emplace(place(counted_staging.high_water()));
  for (std::optional<Slot>& slot : slots_) {
    slot.emplace(checkpoint, configuration, place(counted.high_water()), *staging_);
  }
  if (weights.mode() == memory::Mode::run) reader_ = std::thread([this] { read_on(); });
}

LayerStream::~LayerStream() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (reader_.joinable()) reader_.join();
}

void LayerStream::read(std::size_t index, Slot& slot) {
  slot.weights.release_to(0);
  slot.layer = model::load_decoder_layer(shape_, static_cast<std::int64_t>(index), slot.loader);
}

void LayerStream::read_on() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || wanted_ != nothing; });
    if (ending_) return;
    const std::size_t index = wanted_;
    Slot& slot = slot_of(index);
    slot.holds = nothing;
    lock.unlock();
    std::exception_ptr failure;
    try {
      read(index, slot);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure) {
      failure_ = failure;
    } else {
      slot.holds = index;
    }
    wanted_ = nothing;
    changed_.notify_all();
  }
}

void LayerStream::ask_for(std::size_t index) {
  if (slot_of(index).holds == index) return;
  wanted_ = index;
  changed_.notify_all();
}

void LayerStream::require(std::size_t index) {
  if (index < first_ || !reader_.joinable()) return;
  std::unique_lock lock(mutex_);
  const auto is_idle = [this] { return wanted_ == nothing; };
  changed_.wait(lock, is_idle);
  if (!failure_) {
    ask_for(index);
    changed_.wait(lock, is_idle);
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  layers_[index] = slot_of(index).layer;
  // The slot of the layer that was computed before is free now. After the last layer comes the first again.
  const std::size_t next = index + 1 < layers_.size() ? index + 1 : first_;
  if (&slot_of(next) != &slot_of(index)) ask_for(next);
}

}  // namespace galago::runtime
