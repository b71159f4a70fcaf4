// A CUDA device as the backend holds it: its streams, its memory, cuBLAS, and errors in words.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cuda/blas.h"
#include "memory/device_memory.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

class Device final : public memory::DeviceMemory {
 public:
  explicit Device(int index);
  ~Device() override;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  memory::DeviceRoom room() override;
  std::byte* reserve(Bytes bytes) override;
  void release(std::byte* block) noexcept override;
  std::byte* reserve_pinned(Bytes bytes) override;
  void release_pinned(std::byte* block) noexcept override;
  void upload(std::byte* to, std::span<const std::byte> from) override;
  void download(std::span<std::byte> to, const std::byte* from) override;
  void copy_beside(std::byte* to, std::span<const std::byte> from) override;
  std::unique_ptr<memory::Mark> make_mark() override;

  /// Takes what the driver and libraries have of the device by now for what they need: the plan's driver
  /// bytes.
  void count_driver_bytes();

  /// Waits for all work.
  void finish();
  /// Throws DeviceError for an error of the call or op that `what` names.
  void check(cudaError_t error, std::string_view what);

  /// Throws DeviceError; `at`: "at rms_norm". Any thread may do so.
  [[noreturn]] void fail_device(std::string_view at, std::string_view reason) const;

  /// "cuda:1"
  std::string word() const;
  /// "NVIDIA H200, sm_90"
  std::string description() const;
  /// For work that is handed in now: makes the device the calling thread's current one, too.
  cudaStream_t stream();
  /// Blocks that were reserved up to now: what was recorded for earlier ones is of no use.
  std::uint64_t n_reserved() const { return n_reserved_; }
  /// Queues a product; `workspace` has workspace_bytes().
  void multiply(const Gemm& gemm, std::byte* workspace, std::string_view what);
  /// Whether kernels written for tensor cores run: mma.sync of 16 by 8 by 16, ldmatrix, cp.async.
  bool has_tensor_cores() const { return major_ >= 8; }
  int n_processors() const { return n_processors_; }
  /// Bytes that cuBLAS works best with.
  Bytes workspace_bytes() const;

 private:
  /// "cuda:1 (NVIDIA H200)"
  std::string name() const;
  int attribute(cudaDeviceAttr attribute);
  /// Throws Error{usage} where the kernels were not built for this device.
  void check_kernels();
  bool is_pinned(const std::byte* address) const;
  /// The work before the copy stays what errors are said to be after.
  void check_copy(cudaError_t error) const;

  int index_;
  int major_ = 0;
  int minor_ = 0;
  int n_processors_ = 1;
  std::optional<Bytes> used_before_;  // of the device's memory, before it was opened
  Bytes driver_bytes_ = 0;
  std::uint64_t n_reserved_ = 0;
  std::string model_;
  std::string last_op_;  // the last one queued: a fault is found after it
  cudaStream_t stream_ = nullptr;
  cudaStream_t copies_ = nullptr;             // beside the work
  std::vector<std::span<std::byte>> pinned_;  // of the host's memory, ours
  std::optional<Blas> blas_;
};

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
