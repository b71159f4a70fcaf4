#include "backend/cuda/driver_account.h"

#if defined(GALAGO_SIMT)

namespace galago::backend::emulated {

std::optional<Bytes> bytes_in_use(int device) {
  std::size_t free = 0;
  std::size_t total = 0;
  if (simt::cudaSetDevice(device) != simt::cudaSuccess) return std::nullopt;
  if (simt::cudaMemGetInfo(&free, &total) != simt::cudaSuccess) return std::nullopt;
  return total - free;
}

}  // namespace galago::backend::emulated

#else

#include <dlfcn.h>

#include <memory>

namespace galago::backend::cuda {
namespace {

/// As the library's manual has them; its header is not part of every toolkit.
struct NvmlMemory {
  unsigned long long total, free, used;
};
using NvmlDevice = void*;
constexpr int nvml_success = 0;

struct Close {
  void operator()(void* library) const noexcept { dlclose(library); }
};

template <class Function>
Function* find(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

}  // namespace

std::optional<Bytes> bytes_in_use(int device) {
  const std::unique_ptr<void, Close> library(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL));
  if (library == nullptr) return std::nullopt;
  auto* const init = find<int()>(library.get(), "nvmlInit_v2");
  auto* const shutdown = find<int()>(library.get(), "nvmlShutdown");
  auto* const by_bus = find<int(const char*, NvmlDevice*)>(library.get(), "nvmlDeviceGetHandleByPciBusId_v2");
  auto* const memory = find<int(NvmlDevice, NvmlMemory*)>(library.get(), "nvmlDeviceGetMemoryInfo");
  if (init == nullptr || shutdown == nullptr || by_bus == nullptr || memory == nullptr) return std::nullopt;
  // Numbers of devices are the runtime's own; the place on the bus is everybody's.
  char bus[32] = {};
  if (cudaDeviceGetPCIBusId(bus, sizeof(bus), device) != cudaSuccess || init() != nvml_success) {
    return std::nullopt;
  }
  NvmlDevice handle = nullptr;
  NvmlMemory info{};
  const bool known = by_bus(bus, &handle) == nvml_success && memory(handle, &info) == nvml_success;
  shutdown();
  return known ? std::optional<Bytes>(info.used) : std::nullopt;
}

}  // namespace galago::backend::cuda

#endif
