// What a stream is handed, recorded and handed in again as a whole.
#include <array>
#include <atomic>
#include <numeric>
#include <utility>

#include "simt/fault.h"
#include "simt/memory.h"
#include "simt/streams.h"

namespace galago::simt {

struct Graph {
  std::shared_ptr<const Recording> nodes;
};
struct GraphExec {
  std::shared_ptr<const Recording> nodes;
  int device;  // that it takes memory of

  std::ptrdiff_t bytes() const {
    constexpr std::ptrdiff_t node_bytes = 32;
    return static_cast<std::ptrdiff_t>(nodes->size()) * node_bytes;
  }
};

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

thread_local int n_recording = 0;  // streams
std::array<std::atomic<std::uint64_t>, n_devices> n_launched{};

}  // namespace

std::uint64_t n_graph_launches(int device) {
  return n_launched.at(static_cast<std::size_t>(device));
}

std::uint64_t n_graph_launches() {
  return std::accumulate(n_launched.begin(), n_launched.end(), std::uint64_t{0});
}

bool is_recording() {
  return n_recording > 0;
}

bool spoil_recording(Stream& stream) {
  if (!stream.recording) return false;
  stream.recording_failed = true;
  return true;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode /*mode*/) {
  const Lock lock(device_mutex());
  if (status() != cudaSuccess) return remember(status());
  if (stream->recording) return remember(cudaErrorInvalidValue);
  stream->recording = std::make_shared<Recording>();
  stream->recording_failed = false;
  ++n_recording;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(device_mutex());
  *graph = nullptr;
  if (!stream->recording) return remember(cudaErrorInvalidValue);
  --n_recording;
  const std::shared_ptr<const Recording> nodes = std::exchange(stream->recording, nullptr);
  if (stream->recording_failed) return remember(cudaErrorStreamCaptureInvalidated);
  *graph = std::make_unique<Graph>(Graph{nodes}).release();
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, void* nodes, std::size_t* count) {
  if (nodes != nullptr) return remember(cudaErrorInvalidValue);  // nobody looks at them
  *count = graph->nodes->size();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph,
                                          unsigned long long /*flags*/) {
  const Lock lock(device_mutex());
  *exec = nullptr;
  if (status() != cudaSuccess) return status();
  auto made = std::make_unique<GraphExec>(GraphExec{graph->nodes, current_device()});
  if (static_cast<std::size_t>(made->bytes()) > free_device_memory(made->device)) {
    return remember(cudaErrorMemoryAllocation);
  }
  count_library_bytes(made->bytes(), made->device);
  *exec = made.release();
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const Lock lock(device_mutex());
  if (exec->device != stream->device) return remember(cudaErrorInvalidValue);
  ++n_launched.at(static_cast<std::size_t>(exec->device));
  stream->has_kernels = true;
  return enqueue(stream, [nodes = exec->nodes] {
    for (const std::function<void()>& node : *nodes) node();
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const std::unique_ptr<Graph> owned(graph);
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const Lock lock(device_mutex());
  const std::unique_ptr<GraphExec> owned(exec);
  count_library_bytes(-owned->bytes(), owned->device);
  return cudaSuccess;
}

}  // namespace galago::simt
