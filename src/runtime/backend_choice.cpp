#include "runtime/backend_choice.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "base/fail.h"
#include "base/printable.h"

namespace galago::runtime {
namespace {

enum class DeviceKind { cpu, cuda, emulated };

struct DeviceName {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;

  bool operator==(const DeviceName&) const = default;
};

/// The number in `kind` (0) or `kind`:N; none for other words.
std::optional<int> index_in(std::string_view word, std::string_view kind) {
  if (word == kind) return 0;
  if (!word.starts_with(kind) || word[kind.size()] != ':') return std::nullopt;
  const std::string_view digits = word.substr(kind.size() + 1);
  int number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  return whole && number >= 0 ? std::optional(number) : std::nullopt;
}

DeviceName parse_device(std::string_view word) {
  if (word == "cpu") return {};
  if (const std::optional<int> index = index_in(word, "cuda")) return {DeviceKind::cuda, *index};
  if (const std::optional<int> index = index_in(word, "cuda-emulated")) {
    return {DeviceKind::emulated, *index};
  }
  fail(
      ErrorCode::usage,
      "device is \"{}\", expected auto, cpu, cuda or cuda:N, or several of them but auto with commas between",
      printable(word));
}

std::vector<DeviceName> parse_devices(std::string_view list) {
  std::vector<DeviceName> devices;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view word = list.substr(begin, end - begin);
    const DeviceName device = parse_device(word);
    if (std::find(devices.begin(), devices.end(), device) != devices.end()) {
      fail(ErrorCode::usage, "the device {} was named twice", word);
    }
    devices.push_back(device);
    begin = end + 1;
  }
  return devices;
}

void check_split(const EngineOptions& options, std::size_t n_devices) {
  const std::size_t n = options.split.size();
  if (n == 0 || (n_devices > 1 && n == n_devices)) return;
  fail(ErrorCode::usage, "{} share{} given for {} device{}; several devices have one each", n,
       n == 1 ? " was" : "s were", n_devices, n_devices == 1 ? "" : "s");
}

backend::CudaProducts cuda_products(const EngineOptions& options) {
  return options.compute == Compute::fp32 ? backend::CudaProducts::fp32 : backend::CudaProducts::tensor_cores;
}

std::unique_ptr<backend::Backend> open_cuda([[maybe_unused]] int device,
                                            [[maybe_unused]] const EngineOptions& options) {
#if defined(GALAGO_WITH_CUDA)
  return backend::cuda::make_backend(device, cuda_products(options));
#else
  fail(ErrorCode::usage,
       "this build has no CUDA backend; build with -DGALAGO_CUDA=ON and NVIDIA's toolkit, or choose --device "
       "cpu");
#endif
}

std::unique_ptr<backend::Backend> open_emulated([[maybe_unused]] int device,
                                                [[maybe_unused]] const EngineOptions& options) {
#if defined(GALAGO_WITH_EMULATED_CUDA)
  return backend::emulated::make_backend(device, cuda_products(options));
#else
  fail(ErrorCode::usage, "this build has no emulated device; build with -DGALAGO_EMULATED_CUDA=ON");
#endif
}

std::unique_ptr<backend::Backend> open_cpu(const EngineOptions& options) {
  return backend::make_cpu_backend(options.threads, options.compute == Compute::fp32
                                                        ? backend::Products::exact
                                                        : backend::Products::rounded);
}

/// Without a driver nobody can have thought of a GPU, and it is no news that there is none.
bool has_driver() {
#if defined(GALAGO_WITH_CUDA)
  return backend::cuda::driver_version() > 0;
#else
  return false;
#endif
}

std::unique_ptr<backend::Backend> open_device(const DeviceName& device, const EngineOptions& options) {
  switch (device.kind) {
    case DeviceKind::cuda:
      return open_cuda(device.index, options);
    case DeviceKind::emulated:
      return open_emulated(device.index, options);
    case DeviceKind::cpu:
      break;
  }
  return open_cpu(options);
}

/// Tests of `auto` let the emulated device stand for a real one with this.
bool emulation_stands_in() {
#if defined(GALAGO_WITH_EMULATED_CUDA)
  return std::getenv("GALAGO_AUTO_IS_EMULATED") != nullptr;
#else
  return false;
#endif
}

/// A GPU or, where none can be used, which is told, the CPU.
std::unique_ptr<backend::Backend> open_best(const EngineOptions& options) {
  const bool emulated = emulation_stands_in();
  const auto level = emulated || has_driver() ? spdlog::level::warn : spdlog::level::debug;
  try {
    return emulated ? open_emulated(0, options) : open_cuda(0, options);
  } catch (const Error& error) {
    spdlog::log(level, "{}; going on with the CPU", error.what());
  }
  return open_cpu(options);
}

}  // namespace

std::vector<std::unique_ptr<backend::Backend>> open_backends(const EngineOptions& options) {
  if (options.threads < 0 || options.threads > 1024) {
    fail(ErrorCode::usage, "{} threads were asked for, expected 1 to 1024, or 0 for one a core",
         options.threads);
  }
  std::vector<std::unique_ptr<backend::Backend>> backends;
  if (options.device == "auto") {
    check_split(options, 1);
    backends.push_back(open_best(options));
    return backends;
  }
  const std::vector<DeviceName> devices = parse_devices(options.device);
  check_split(options, devices.size());
  for (const DeviceName& device : devices) backends.push_back(open_device(device, options));
  return backends;
}

}  // namespace galago::runtime
