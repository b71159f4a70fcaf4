// Steps of decoding as CUDA graphs: hundreds of launches handed to the device in one call.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>

#include "backend/backend.h"
#include "backend/cuda/device.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

struct DestroyGraph {
  void operator()(cudaGraphExec_t graph) const noexcept { cudaGraphExecDestroy(graph); }
};

/// The graphs of the steps that were done last. A step is recorded when it comes for the second time: the
/// first loads what kernels it needs, which cannot be recorded, and many never come again.
///
/// What graphs take of the device's memory is the driver's and not told beforehand. So as many as are kept,
/// larger than steps are, are made when the device is opened, and each makes room for a real one: the memory
/// is there, and in the plan.
class StepGraphs {
 public:
  explicit StepGraphs(Device& device);

  /// Does the work, or repeats what it was recorded as.
  void run(Execution& exec, const StepKey& key, const std::function<void()>& work);

  /// Graphs that are kept at once.
  static constexpr std::size_t n_graphs = 8;

 private:
  using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, DestroyGraph>;
  enum class State {
    unknown,         // not the step of this key
    seen,            // done once
    recorded,        // `graph` is the step
    not_for_graphs,  // larger than there is room for
  };
  struct Place {
    StepKey key;
    State state = State::unknown;
    std::uint64_t last_use = 0;
    Graph graph;  // where the step is not recorded: what keeps the room for it
  };

  /// The step's, or the one that was not used for the longest time.
  Place& place_of(const StepKey& key);
  void record(Place& place, Execution& exec, const std::function<void()>& work);

  Device& device_;
  std::array<Place, n_graphs> places_;
  std::uint64_t n_uses_ = 0;
  std::uint64_t n_reserved_ = 0;  // Device's, as the graphs know it
  bool has_room_ = false;
};

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
