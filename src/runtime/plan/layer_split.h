// How a decoder's layers are spread over several devices, so that each keeps to its share of the memory.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backends.h"
#include "galago/options.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/configuration.h"
#include "runtime/plan/planner.h"

namespace galago::runtime {

class LayerSplit {
 public:
  /// Each device's share is what EngineOptions::split gives it, else what is free there; to the CPU, what the
  /// other devices leave. All arguments outlive the object.
  LayerSplit(const Blueprint& model, const EngineOptions& options, const backend::Backends& backends,
             const OutsideBytes& outside);

  /// Settles how many layers lie on each device (Configuration::stage_layers), one at least, and rehearses
  /// that: the device that is fullest, measured by its share, is as empty as can be, and what is left to the
  /// CPU are as few layers as the others have no room for. Throws Error{usage} for more devices than layers.
  Rehearsal settle(Configuration& configuration) const;

  /// Whether every device keeps to its share. One device alone has all there is (check_room()).
  bool fits(const Rehearsal& rehearsal) const;

  /// Throws Error{memory} for a device that does not, with the bytes that are missing and the layers that it
  /// would have room for.
  void check(const Configuration& configuration, const Rehearsal& rehearsal) const;

  /// Tells the shares, where there are several devices.
  void describe(Plan& plan) const;

  const backend::Backends& backends() const { return backends_; }

 private:
  struct Share {
    Bytes bytes = 0;
    bool rest = false;  // gets what the others have no room for
  };
  class Sizes;

  Share free_share(backend::Backend& backend, Bytes budget) const;
  /// The layers of each device that suit the shares best, by what a rehearsal says of their sizes.
  std::vector<std::int64_t> choose(const Configuration& configuration, const Rehearsal& rehearsal) const;

  const Blueprint& model_;
  const EngineOptions& options_;
  const backend::Backends& backends_;
  const OutsideBytes& outside_;
  std::vector<Share> shares_;
};

}  // namespace galago::runtime
