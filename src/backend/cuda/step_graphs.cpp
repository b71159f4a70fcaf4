#include "backend/cuda/step_graphs.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/kernels.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {
namespace {

/// Launches of the largest step that is recorded: a decoder layer has about a dozen.
constexpr std::size_t most_nodes = 2048;
/// Of the graphs that keep room: twice as many, since these have fewer parameters.
constexpr std::size_t room_nodes = 2 * most_nodes;

struct DestroyRecording {
  void operator()(cudaGraph_t recording) const noexcept { cudaGraphDestroy(recording); }
};
using Recording = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, DestroyRecording>;

/// What the stream is handed by `work`.
Recording record_work(Device& device, const std::function<void()>& work) {
  const auto end = [&] {
    cudaGraph_t recorded = nullptr;
    const cudaError_t error = cudaStreamEndCapture(device.stream(), &recorded);
    return std::pair(error, Recording(recorded));
  };
  device.check(cudaStreamBeginCapture(device.stream(), cudaStreamCaptureModeThreadLocal), "recording a step");
  try {
    work();
  } catch (...) {
    end();
    throw;
  }
  auto [error, recording] = end();
  device.check(error, "recording a step");
  return std::move(recording);
}

std::size_t size_of(Device& device, const Recording& recording) {
  std::size_t n_nodes = 0;
  device.check(cudaGraphGetNodes(recording.get(), nullptr, &n_nodes), "recording a step");
  return n_nodes;
}

/// Null where the device has too little memory for it.
cudaGraphExec_t make_graph(Device& device, const Recording& recording) {
  cudaGraphExec_t graph = nullptr;
  const cudaError_t error = cudaGraphInstantiateWithFlags(&graph, recording.get(), 0);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // taken note of
    return nullptr;
  }
  device.check(error, "recording a step");
  return graph;
}

}  // namespace

StepGraphs::StepGraphs(Device& device) : device_(device) {
  const Recording recording = record_work(device_, [&] {
    for (std::size_t i = 0; i < room_nodes; ++i) {
      device_.check(kernels::GALAGO_DEVICE_SPACE::scale_rows(device_.stream(), {nullptr, 1, 1, 1}, 1),
                    "recording a step");
    }
  });
  for (Place& place : places_) place.graph.reset(make_graph(device_, recording));
  has_room_ =
      std::all_of(places_.begin(), places_.end(), [](const Place& place) { return place.graph != nullptr; });
  if (has_room_) return;
  for (Place& place : places_) place.graph.reset();
}

void StepGraphs::run(Execution& exec, const StepKey& key, const std::function<void()>& work) {
  // A device without room for graphs does without; work that is timed is timed op by op.
  if (!has_room_ || exec.queue.mode() == memory::Mode::plan || exec.queue.is_timed()) return work();
  if (std::exchange(n_reserved_, device_.n_reserved()) != device_.n_reserved()) {
    for (Place& known : places_) known.state = State::unknown;
  }
  Place& place = place_of(key);
  place.last_use = ++n_uses_;
  if (place.state == State::seen) record(place, exec, work);
  if (place.state == State::unknown) place.state = State::seen;
  if (place.state != State::recorded) return work();
  {
    const Queue::OnlyPart only(exec.queue, Queue::Part::costs);
    work();
  }
  device_.check(cudaGraphLaunch(place.graph.get(), device_.stream()), "a recorded step");
}

StepGraphs::Place& StepGraphs::place_of(const StepKey& key) {
  const auto known = std::find_if(places_.begin(), places_.end(), [&](const Place& place) {
    return place.state != State::unknown && place.key == key;
  });
  if (known != places_.end()) return *known;
  Place& oldest = *std::min_element(places_.begin(), places_.end(),
                                    [](const Place& a, const Place& b) { return a.last_use < b.last_use; });
  oldest.key = key;
  oldest.state = State::unknown;
  return oldest;
}

void StepGraphs::record(Place& place, Execution& exec, const std::function<void()>& work) {
  const Queue::OnlyPart only(exec.queue, Queue::Part::work);
  const Recording recording = record_work(device_, work);
  place.state = State::not_for_graphs;
  if (size_of(device_, recording) > most_nodes) return;
  place.graph.reset();  // makes room
  place.graph.reset(make_graph(device_, recording));
  if (place.graph) place.state = State::recorded;
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
