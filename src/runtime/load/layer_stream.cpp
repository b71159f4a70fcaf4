#include "runtime/load/layer_stream.h"

#include <algorithm>
#include <utility>

namespace galago::runtime {

using memory::Region;
using memory::RegionId;

namespace {

/// A part of a region, as a region of its own.
Region part_of(Region& region, Bytes bytes) {
  std::byte* const memory = region.take(bytes);
  return memory == nullptr ? Region::planning(region.id(), region.device())
                           : Region::within(region.id(), {memory, bytes}, region.device());
}

}  // namespace

LayerStream::LayerStream(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
                         memory::Arena& arena, model::Decoder& decoder)
    : decoder_(decoder), first_(decoder.layers.size()) {
  Region counted = Region::planning(RegionId::weights, arena.device());
  Region counted_staging = Region::planning(RegionId::staging);
  WeightLoader counter(checkpoint, configuration, {counted, counted_staging});
  const auto n_layers = static_cast<std::size_t>(decoder.range.count());
  for (std::size_t i = first_; i < n_layers; ++i) {
    counted.release_to(0);
    decoder.layers.push_back(load(i, counter));
  }
  Region& weights = arena.region(RegionId::weights);
  // Without a device staging is for each phase anew; there a reader needs some of its own.
  Region& host = arena.device() == nullptr ? weights : arena.region(RegionId::staging);
  staging_.emplace(part_of(host, counted_staging.high_water()));
  if (arena.device() != nullptr) host.keep();
  for (std::optional<Slot>& slot : slots_) slot.emplace(make_slot(weights, counted.high_water()));
  loader_.emplace(checkpoint, configuration, WeightLoader::Destination{slots_[0]->weights, *staging_});
  if (weights.mode() == memory::Mode::run) reader_ = std::thread([this] { read_on(); });
}

LayerStream::Slot LayerStream::make_slot(Region& from, Bytes bytes) const {
  Slot slot{part_of(from, bytes), nothing, {}, nullptr, nullptr};
  if (from.mode() == memory::Mode::plan || from.device() == nullptr) return slot;
  slot.free = from.device()->make_mark();
  slot.arrived = from.device()->make_mark();
  return slot;
}

LayerStream::~LayerStream() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (reader_.joinable()) reader_.join();
}

model::DecoderLayer LayerStream::load(std::size_t index, WeightLoader& loader) const {
  const std::int64_t in_decoder = decoder_.range.first + static_cast<std::int64_t>(index);
  return model::load_decoder_layer(decoder_.shape, in_decoder, loader);
}

void LayerStream::read(std::size_t index, Slot& slot) {
  slot.weights.release_to(0);
  loader_->turn_to(slot.weights);
  if (slot.free) slot.free->hold_copies();
  slot.layer = load(index, *loader_);
  if (slot.arrived) slot.arrived->set_after_copies();
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
  Slot& slot = slot_of(index);
  if (slot.holds == index) return;
  if (slot.free) slot.free->set_after_work();
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
  Slot& slot = slot_of(index);
  decoder_.layers[index] = slot.layer;
  if (slot.arrived) slot.arrived->hold_work();
  // The work of the layer before has all been handed in: its slot is free after that. After the last layer
  // comes the first again.
  const std::size_t next = index + 1 < decoder_.layers.size() ? index + 1 : first_;
  if (&slot_of(next) != &slot) ask_for(next);
}

}  // namespace galago::runtime
