// A model's weights kept in a file as they lie in memory, so that a later start has them at once.
#pragma once

#include <vector>

#include "checkpoint/checkpoint.h"
#include "memory/arena.h"
#include "model/description.h"
#include "runtime/configuration.h"
#include "runtime/packed_file.h"
#include "runtime/weight_loader.h"

namespace galago::runtime {

class PackedWeights {
 public:
  /// Maps the configuration's packed file over the beginning of the arena's weights and, where it stays,
  /// tower, before anything was taken from them; a file that cannot be used is told of. Does nothing without
  /// such a file, and in plan mode: the same bytes are taken either way. The arena's memory outlives this.
  PackedWeights(const checkpoint::Checkpoint& checkpoint, const model::Description& description,
                const Configuration& configuration, memory::Arena& arena);

  /// Whether the loader finds the weights in their places.
  WeightLoader::Contents contents() const { return contents_; }

  /// Writes the file if weights were read that it should have. A disk that refuses is told of, no more.
  void keep() const;

 private:
  const Configuration& configuration_;
  WeightLoader::Contents contents_ = WeightLoader::Contents::read;
  bool to_write_ = false;
  Json made_from_;
  std::vector<PackedSection> sections_;
};

}  // namespace galago::runtime
