#include "backend/cuda/device.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/driver_account.h"
#include "backend/cuda/mark.h"
#include "base/fail.h"
#include "galago/device_error.h"
#include "kernels/cuda/kernels.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {
namespace {

#if defined(GALAGO_SIMT)
constexpr const char* kind = "cuda-emulated";
#else
constexpr const char* kind = "cuda";
#endif

constexpr int oldest_major = 7;
constexpr int oldest_minor = 5;

}  // namespace

int driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

Device::Device(int index) : index_(index) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found == cudaErrorInsufficientDriver && driver_version() > 0) {
    fail(ErrorCode::usage,
         "NVIDIA's driver is made for CUDA {}.{}, too old for this build; install a newer one, or choose "
         "--device cpu",
         driver_version() / 1000, driver_version() % 1000 / 10);
  }
  if (found != cudaSuccess || count == 0) {
    fail(ErrorCode::usage, "no CUDA device can be used ({}); install NVIDIA's driver, or choose --device cpu",
         found == cudaSuccess ? "there is none" : cudaGetErrorString(found));
  }
  if (index >= count) {
    fail(ErrorCode::usage, "device {0}:{1} was asked for, this machine has {0}:0 to {0}:{2}", kind, index,
         count - 1);
  }
  used_before_ = bytes_in_use(index);
  check(cudaSetDevice(index), "opening the device");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "asking the device's name");
  model_ = properties.name;
  major_ = attribute(cudaDevAttrComputeCapabilityMajor);
  minor_ = attribute(cudaDevAttrComputeCapabilityMinor);
  n_processors_ = attribute(cudaDevAttrMultiProcessorCount);
  if (major_ < oldest_major || (major_ == oldest_major && minor_ < oldest_minor)) {
    fail(ErrorCode::usage, "{} has compute capability {}.{}, expected {}.{} or later; choose --device cpu",
         name(), major_, minor_, oldest_major, oldest_minor);
  }
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
  check(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "creating a stream for copies");
  check_kernels();
  blas_.emplace(stream_);
}

void Device::count_driver_bytes() {
  const std::optional<Bytes> used = bytes_in_use(index_);
  if (used_before_ && used && *used > *used_before_) driver_bytes_ = *used - *used_before_;
}

void Device::check_kernels() {
  const cudaError_t error = kernels::GALAGO_DEVICE_SPACE::find_kernels();
  if (error == cudaSuccess) return;
  cudaGetLastError();  // taken note of
  fail(ErrorCode::usage,
       "this build's kernels do not run on {}, sm_{}{} ({}); build with -DGALAGO_CUDA_ARCHITECTURES={}{}, or "
       "choose "
       "--device cpu",
       name(), major_, minor_, cudaGetErrorString(error), major_, minor_);
}

memory::DeviceRoom Device::room() {
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaSetDevice(index_), "asking for free memory");
  check(cudaMemGetInfo(&free, &total), "asking for free memory");
  return {free, total, driver_bytes_};
}

Device::~Device() {
  blas_.reset();
  if (copies_ != nullptr) cudaStreamDestroy(copies_);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

int Device::attribute(cudaDeviceAttr attribute) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, attribute, index_), "asking the device's properties");
  return value;
}

std::byte* Device::reserve(Bytes bytes) {
  ++n_reserved_;
  const memory::DeviceRoom before = room();
  void* block = nullptr;
  // Nothing to reserve is no error: the block is never touched.
  const cudaError_t error = bytes == 0 ? cudaSuccess : cudaMalloc(&block, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // taken note of
    fail(ErrorCode::memory,
         "{} has {} of {} bytes free, {} are needed; free memory there or ask for less (--context, "
         "--precision)",
         name(), before.free, before.total, bytes);
  }
  check(error, "reserving memory");
  return static_cast<std::byte*>(block);
}

void Device::release(std::byte* block) noexcept {
  cudaStreamSynchronize(copies_);
  cudaStreamSynchronize(stream_);
  cudaFree(block);
}

std::byte* Device::reserve_pinned(Bytes bytes) {
  if (bytes == 0) return nullptr;
  void* block = nullptr;
  const cudaError_t error = cudaMallocHost(&block, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // taken note of
    fail(ErrorCode::memory,
         "the system refused {} bytes of pinned memory for copies to {}; free memory or ask for less "
         "(--memory, --context)",
         bytes, name());
  }
  check(error, "reserving pinned memory");
  pinned_.emplace_back(static_cast<std::byte*>(block), bytes);
  return pinned_.back().data();
}

void Device::release_pinned(std::byte* block) noexcept {
  if (block == nullptr) return;
  cudaStreamSynchronize(stream_);
  cudaStreamSynchronize(copies_);
  cudaFreeHost(block);
  pinned_.erase(std::find_if(pinned_.begin(), pinned_.end(),
                             [&](std::span<std::byte> mine) { return mine.data() == block; }));
}

bool Device::is_pinned(const std::byte* address) const {
  return std::any_of(pinned_.begin(), pinned_.end(), [&](std::span<const std::byte> mine) {
    return address >= mine.data() && address < mine.data() + mine.size();
  });
}

void Device::upload(std::byte* to, std::span<const std::byte> from) {
  if (from.empty()) return;
  check_copy(cudaMemcpyAsync(to, from.data(), from.size(), cudaMemcpyHostToDevice, stream()));
  if (is_pinned(from.data())) finish();  // the device reads it at its turn; other memory was read by the call
}

void Device::download(std::span<std::byte> to, const std::byte* from) {
  if (to.empty()) return;
  check_copy(cudaMemcpyAsync(to.data(), from, to.size(), cudaMemcpyDeviceToHost, stream()));
  finish();
}

void Device::copy_beside(std::byte* to, std::span<const std::byte> from) {
  cudaSetDevice(index_);  // another thread's; where it fails, so does the copy
  const cudaError_t error = cudaMemcpyAsync(to, from.data(), from.size(), cudaMemcpyHostToDevice, copies_);
  if (error != cudaSuccess) fail_device("at copying weights", cudaGetErrorString(error));
}

std::unique_ptr<memory::Mark> Device::make_mark() {
  return std::make_unique<EventMark>(*this, stream(), copies_);
}

void Device::finish() {
  const cudaError_t error = cudaStreamSynchronize(stream_);
  if (error != cudaSuccess) {
    fail_device(fmt::format("in the work up to {}", last_op_), cudaGetErrorString(error));
  }
}

void Device::check(cudaError_t error, std::string_view what) {
  last_op_ = what;
  if (error != cudaSuccess) fail_device(fmt::format("at {}", what), cudaGetErrorString(error));
}

void Device::check_copy(cudaError_t error) const {
  if (error != cudaSuccess) {
    fail_device(fmt::format("at a copy after {}", last_op_), cudaGetErrorString(error));
  }
}

void Device::fail_device(std::string_view at, std::string_view reason) const {
  throw DeviceError(
      fmt::format("{} failed {}: {}; the model can be loaded again with --device cpu", name(), at, reason));
}

void Device::multiply(const Gemm& gemm, std::byte* workspace, std::string_view what) {
  last_op_ = what;
  check(cudaSetDevice(index_), what);
  const cublasStatus_t status = blas_->multiply(gemm, workspace, workspace_bytes());
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail_device(fmt::format("at {}", what), fmt::format("cuBLAS says {}", blas_->describe(status)));
}

std::string Device::description() const {
  return fmt::format("{}, sm_{}{}", model_, major_, minor_);
}

std::string Device::word() const {
  return fmt::format("{}:{}", kind, index_);
}

std::string Device::name() const {
  return model_.empty() ? word() : fmt::format("{} ({})", word(), model_);
}

cudaStream_t Device::stream() {
  cudaSetDevice(index_);  // where it fails, so does the work
  return stream_;
}

Bytes Device::workspace_bytes() const {
  // NVIDIA's recommendation: 32 MiB for Hopper and later, 4 MiB before.
  return Bytes{major_ >= 9 ? 32U : 4U} << 20;
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
