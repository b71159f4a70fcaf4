#include "simt/runtime.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "simt/execution.h"
#include "simt/memory.h"
#include "simt/shared_memory.h"
#include "simt/streams.h"

namespace galago::simt {
namespace {

Failures failures_from_outside() {
  const char* const words = std::getenv("GALAGO_SIMT_FAILURES");
  if (words == nullptr) return {};
  const std::string_view text(words);
  const std::string_view launch = "launch ";
  Failures failures{text == "driver", text == "busy", text == "old", 0};
  if (text.substr(0, launch.size()) == launch)
    failures.launch = std::strtoull(words + launch.size(), nullptr, 10);
  return failures;
}

/// What this process's calls have come to. A fault stops the work on all devices.
struct Device {
  Failures failures = failures_from_outside();
  std::optional<Fault> fault;
  std::string fault_text;
  StreamOrder order = StreamOrder::late;
  cudaError_t last = cudaSuccess;
  std::uint64_t n_launches = 0;
  std::uint64_t n_bytes_to_host = 0;
};

Device& device() {
  static Device device;
  return device;
}

/// What runs while it lives, runs on this device.
class RunOn {
 public:
  explicit RunOn(int device) : before_(set_current_device(device)) {}
  ~RunOn() { set_current_device(before_); }
  RunOn(const RunOn&) = delete;
  RunOn& operator=(const RunOn&) = delete;

 private:
  int before_;
};

using Lock = std::lock_guard<std::recursive_mutex>;

/// Runs a stream's work up to a ticket.
void run_until(Stream& stream, std::uint64_t ticket) {
  const RunOn here(stream.device);
  while (!stream.queue.empty() && stream.queue.front().ticket <= ticket) {
    const std::function<void()> run = std::move(stream.queue.front().run);
    stream.queue.pop_front();
    if (device().fault) continue;
    try {
      run();
    } catch (const KernelFault& fault) {
      device().fault = fault.fault;
      device().fault_text = fault.fault.to_string();
    }
  }
}

void check_device_range(const char* call, const void* address, std::size_t bytes) {
  const Extent extent = extent_of(address);
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  if (at < extent.begin || at > extent.end || bytes > extent.end - at) {
    fail_call(call, fmt::format("{} bytes at {} reach outside an allocation", bytes, address));
  }
}

}  // namespace

std::recursive_mutex& device_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

cudaError_t status() {
  return device().fault ? cudaErrorIllegalAddress : cudaSuccess;
}

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) device().last = error;
  return error;
}

void fail_call(const char* call, std::string what) {
  throw KernelFault{{Mistake::outside_allocation, call, {0, 0, 0}, {0, 0, 0}, std::move(what)}};
}

const std::optional<Fault>& device_fault() {
  return device().fault;
}

std::optional<Fault> take_device_fault() {
  device().last = cudaSuccess;
  return std::exchange(device().fault, std::nullopt);
}

std::uint64_t n_bytes_to_host() {
  const Lock lock(device_mutex());
  return device().n_bytes_to_host;
}

void set_checks(Checks checks) {
  shared_memory().set_race_checks(checks == Checks::and_races);
}

void set_stream_order(StreamOrder order) {
  const Lock lock(device_mutex());
  device().order = order;
}

void set_failures(const Failures& failures) {
  const Lock lock(device_mutex());
  device().failures = failures;
  device().n_launches = 0;
}

cudaError_t enqueue(Stream* stream, std::function<void()> work) {
  const Lock lock(device_mutex());
  if (device().fault) return remember(status());
  if (stream == nullptr) return remember(cudaErrorInvalidValue);
  if (stream->recording) {
    stream->recording->push_back(std::move(work));
    return cudaSuccess;
  }
  stream->queue.push_back({stream->next_ticket++, std::move(work)});
  if (device().order == StreamOrder::copies_early && !stream->has_kernels) {
    run_until(*stream, stream->next_ticket);
  }
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = n_devices;
  return device().failures.driver ? cudaErrorInsufficientDriver : cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 11040;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int index) {
  const Lock lock(device_mutex());
  if (device().failures.busy) return remember(cudaErrorDevicesUnavailable);
  if (index < 0 || index >= n_devices) return remember(cudaErrorInvalidDevice);
  set_current_device(index);
  return status();
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int /*index*/) {
  std::strcpy(properties->name, "emulated, not a GPU");
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int /*index*/) {
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(max_shared_bytes);
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = 2;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = device().failures.old ? 6 : 8;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
  }
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const Lock lock(device_mutex());
  *free = free_device_memory(current_device());
  *total = device_memory(current_device());
  return status();
}

cudaError_t cudaMalloc(void** address, std::size_t bytes) {
  const Lock lock(device_mutex());
  if (is_recording()) return remember(cudaErrorStreamCaptureUnsupported);
  if (device().fault) return status();
  *address = allocate_device(bytes);
  return *address == nullptr ? remember(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaFree(void* address) {
  const Lock lock(device_mutex());
  if (is_recording()) return remember(cudaErrorStreamCaptureUnsupported);
  return address == nullptr || free_device(address) ? status() : cudaErrorInvalidValue;
}

cudaError_t cudaMallocHost(void** address, std::size_t bytes) {
  const Lock lock(device_mutex());
  if (device().fault) return status();
  *address = allocate_pinned(bytes);
  return *address == nullptr ? remember(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaFreeHost(void* address) {
  const Lock lock(device_mutex());
  return free_pinned(address) ? status() : cudaErrorInvalidValue;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned /*flags*/) {
  const Lock lock(device_mutex());
  *stream = std::make_unique<Stream>().release();
  (*stream)->device = current_device();
  return status();
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(device_mutex());
  cudaStreamSynchronize(stream);
  const std::unique_ptr<Stream> owned(stream);
  return status();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(device_mutex());
  if (spoil_recording(*stream)) return remember(cudaErrorStreamCaptureUnsupported);
  run_until(*stream, stream->next_ticket);
  return remember(status());
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned /*flags*/) {
  const Lock lock(device_mutex());
  if (spoil_recording(*stream)) return remember(cudaErrorStreamCaptureUnsupported);
  Stream* const other = event->stream;
  if (other == nullptr) return status();
  return enqueue(stream, [other, ticket = event->ticket] { run_until(*other, ticket); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned /*flags*/) {
  *event = std::make_unique<Event>().release();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::unique_ptr<Event> owned(event);
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(device_mutex());
  if (spoil_recording(*stream)) return remember(cudaErrorStreamCaptureUnsupported);
  event->stream = stream;
  event->ticket = stream->next_ticket;
  return enqueue(stream, [time = event->time] { *time = std::chrono::steady_clock::now(); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(device_mutex());
  if (event->stream != nullptr) run_until(*event->stream, event->ticket);
  return remember(status());
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const Lock lock(device_mutex());
  *milliseconds = std::chrono::duration<float, std::milli>(*end->time - *start->time).count();
  return status();
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const Lock lock(device_mutex());
  const void* const on_host = kind == cudaMemcpyDeviceToHost ? to : from;
  if (kind != cudaMemcpyDeviceToDevice && !is_pinned(on_host) && spoil_recording(*stream)) {
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  // What comes from pageable memory was read when the call returns, what goes there is written at its turn.
  std::vector<std::byte> taken;
  const bool pageable = kind == cudaMemcpyHostToDevice && !is_pinned(from);
  if (pageable)
    taken.assign(static_cast<const std::byte*>(from), static_cast<const std::byte*>(from) + bytes);
  return enqueue(stream, [to, from, bytes, kind, pageable, data = std::move(taken)] {
    if (kind != cudaMemcpyDeviceToHost) check_device_range("cudaMemcpyAsync", to, bytes);
    if (kind != cudaMemcpyHostToDevice) check_device_range("cudaMemcpyAsync", from, bytes);
    if (kind == cudaMemcpyDeviceToHost) device().n_bytes_to_host += bytes;
    std::memmove(to, pageable ? data.data() : from, bytes);
  });
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return enqueue(stream, [to, value, bytes] {
    check_device_range("cudaMemsetAsync", to, bytes);
    std::memset(to, value, bytes);
  });
}

cudaError_t cudaGetLastError() {
  const Lock lock(device_mutex());
  return std::exchange(device().last, cudaSuccess);
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorDevicesUnavailable:
      return "CUDA-capable device(s) is/are busy or unavailable";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
      return device().fault_text.c_str();
  }
  return "unknown error";
}

cudaError_t launch_kernel(cudaStream_t stream, const char* name, const Dim3& grid, unsigned threads,
                          std::size_t shared_bytes, void (*entry)(const void*), const void* params,
                          std::size_t params_bytes) {
  const Lock lock(device_mutex());
  if (stream != nullptr && stream->device != current_device()) {
    return remember(cudaErrorInvalidResourceHandle);
  }
  if (stream != nullptr) stream->has_kernels = true;
  const auto* bytes = static_cast<const std::byte*>(params);
  // Vectors of bytes from the heap are aligned for every type.
  return enqueue(stream, [=, copy = std::vector<std::byte>(bytes, bytes + params_bytes)] {
    // Counted here, since what is recorded runs more than once.
    if (++device().n_launches == device().failures.launch) {
      throw KernelFault{{Mistake::arranged, name, {0, 0, 0}, {0, 0, 0}, "a test wanted this launch to fail"}};
    }
    run_launch({name, grid, {threads, 1, 1}, shared_bytes, entry, copy.data()});
  });
}

}  // namespace galago::simt
