#include "runtime/backend_choice.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "base/fail.h"
#include "base/printable.h"

namespace galago::runtime {
namespace {

/// The number in "cuda" (0) or "cuda:N"; none for other words.
std::optional<int> cuda_device(std::string_view device) {
  constexpr std::string_view name = "cuda";
  if (device == name) return 0;
  if (device.substr(0, name.size() + 1) != "cuda:") return std::nullopt;
  const std::string_view digits = device.substr(name.size() + 1);
  int number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  return whole && number >= 0 ? std::optional(number) : std::nullopt;
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

std::unique_ptr<backend::Backend> open_emulated([[maybe_unused]] const EngineOptions& options) {
#if defined(GALAGO_WITH_EMULATED_CUDA)
  return backend::emulated::make_backend(0, cuda_products(options));
#else
  fail(ErrorCode::usage, "this build has no emulated device; build with -DGALAGO_EMULATED_CUDA=ON");
#endif
}

bool has_cuda_device() {
#if defined(GALAGO_WITH_CUDA)
  return backend::cuda::device_count() > 0;
#else
  return false;
#endif
}

}  // namespace

std::unique_ptr<backend::Backend> open_backend(const EngineOptions& options) {
  if (options.threads < 0 || options.threads > 1024) {
    fail(ErrorCode::usage, "{} threads were asked for, expected 1 to 1024, or 0 for one a core",
         options.threads);
  }
  if (options.device == "cuda-emulated") return open_emulated(options);
  if (const std::optional<int> device = cuda_device(options.device)) return open_cuda(*device, options);
  if (options.device != "auto" && options.device != "cpu") {
    fail(ErrorCode::usage, "device is \"{}\", expected auto, cpu, cuda or cuda:N", printable(options.device));
  }
  // Where there is none, the plan's device says that it is the CPU.
  if (options.device == "auto" && has_cuda_device()) {
    try {
      return open_cuda(0, options);
    } catch (const Error& error) {
      spdlog::warn("{}; going on with the CPU", error.what());
    }
  }
  return backend::make_cpu_backend(options.threads, options.compute == Compute::fp32
                                                        ? backend::Products::exact
                                                        : backend::Products::rounded);
}

}  // namespace galago::runtime
