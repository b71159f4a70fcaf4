// A model's weights kept in a file as they lie in memory, so that a later start has them at once, and a
// staged tower whenever it comes back.
#pragma once

#include <vector>

#include "checkpoint/checkpoint.h"
#include "memory/arena.h"
#include "model/description.h"
#include "runtime/load/packed_file.h"
#include "runtime/load/weight_loader.h"
#include "runtime/plan/configuration.h"

namespace galago::runtime {

class PackedWeights {
 public:
  /// Maps the configuration's packed file over the beginning of the arena's weights and, where it stays,
  /// tower, before anything was taken from them; a file that cannot be used is told of. Does nothing without
  /// such a file, and in plan mode: the same bytes are taken either way. The configuration outlives this.
  PackedWeights(const checkpoint::Checkpoint& checkpoint, const model::Description& description,
                const Configuration& configuration, memory::Arena& arena);

  /// Whether the loader finds the weights in their places.
  WeightLoader::Contents contents() const { return contents_; }

  /// Brings a staged tower to the beginning of its region, before anything was taken from that. Whether the
  /// loader finds it there then; a file that cannot be used any more is told of.
  WeightLoader::Contents bring_tower(memory::Region& region);

  /// Writes the file if weights were read that it should have, once all of them are in memory: a staged tower
  /// after it was loaded. A disk that refuses is told of, no more.
  void keep();

 private:
  PackedSource source() const { return {configuration_.packed, made_from_, sections_}; }
  /// Takes note of what became of the file.
  WeightLoader::Contents judge(const PackedResult& result);

  const Configuration& configuration_;
  WeightLoader::Contents contents_ = WeightLoader::Contents::read;
  bool to_write_ = false;
  bool to_use_ = false;  // there is a file, and it is ours
  Json made_from_;
  std::vector<PackedSection> sections_;  // of the decoder, then the tower
};

}  // namespace galago::runtime
