// The emulated device: kernels that are right give their results, kernels that are wrong on purpose are
// caught.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "kernels/cuda/device_array.h"
#include "kernels/cuda/primitives.cuh"
#include "simt/expect_fault.h"

namespace galago::kernels::emulated {
namespace {

using simt::expect_fault;
using simt::Fault;
using simt::Mistake;

class Simt : public ::testing::Test {
 protected:
  Simt() { cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking); }
  ~Simt() override {
    simt::take_device_fault();
    simt::set_checks(simt::Checks::usual);
    simt::set_stream_order(simt::StreamOrder::late);
    cudaStreamDestroy(stream);
  }

  cudaStream_t stream = nullptr;
};

struct Array {
  float* data;
  std::int64_t n;
};

// --- kernels that are right ---

__global__ void coordinates_kernel(const Array op) {
  const Global<float> to(op.data);
  const std::int64_t i =
      (static_cast<std::int64_t>(blockIdx.y) * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x;
  to[i] = static_cast<float>(i);
}

TEST_F(Simt, EveryThreadOfTheGridRunsOnce) {
  DeviceArray<float> array(3 * 2 * 64);
  launch<coordinates_kernel>(stream, "coordinates", Grid{3, 2, 1}, 64, 0, Array{array.data(), 0});
  std::vector<float> expected(array.size());
  std::iota(expected.begin(), expected.end(), 0.0F);
  EXPECT_EQ(array.read(stream), expected);
}

__global__ void reverse_kernel(const Array op) {
  const Shared<float> shared = dynamic_shared<float>();
  const Global<float> data(op.data);
  shared[threadIdx.x] = data[threadIdx.x];
  block_barrier();
  data[threadIdx.x] = shared[op.n - 1 - threadIdx.x];
}

TEST_F(Simt, ThreadsMeetAtBarriersAndShareMemory) {
  for (const simt::Checks checks : {simt::Checks::usual, simt::Checks::and_races}) {
    simt::set_checks(checks);
    DeviceArray<float> array(std::vector<float>(1024, 0), stream);
    launch<coordinates_kernel>(stream, "coordinates", Grid{8, 1, 1}, 128, 0, Array{array.data(), 0});
    launch<reverse_kernel>(stream, "reverse", Grid{1, 1, 1}, 1024, 4096, Array{array.data(), 1024});
    std::vector<float> expected(1024);
    std::iota(expected.rbegin(), expected.rend(), 0.0F);
    EXPECT_EQ(array.read(stream), expected);
  }
}

__global__ void collectives_kernel(const Array op) {
  const Global<float> to(op.data);
  const auto lane = static_cast<float>(lane_index());
  const float sum = warp_sum(lane);
  const float max = warp_max(-lane);
  to[threadIdx.x] = sum + max + shuffle(lane, lane_index() + 1);
  GALAGO_SHARED_ARRAY(float, partials, 2);
  const float total = block_sum(1, partials);
  to[threadIdx.x] += total * 1000;
}

TEST_F(Simt, WarpsExchangeValues) {
  DeviceArray<float> array(64);
  launch<collectives_kernel>(stream, "collectives", Grid{1, 1, 1}, 64, 0, Array{array.data(), 0});
  const std::vector<float> result = array.read(stream);
  EXPECT_EQ(result[0], 64000 + 496 + 1);
  EXPECT_EQ(result[31], 64000 + 496 + 0);
  EXPECT_EQ(result[33], 64000 + 496 + 2);
}

// --- kernels that are wrong ---

__global__ void beyond_the_end_kernel(const Array op) {
  const Global<float> data(op.data);
  const float value = data[threadIdx.x + 1];  // the last thread reads past the end
  data[threadIdx.x] = value;
}

TEST_F(Simt, FindsAccessOutsideAnAllocation) {
  DeviceArray<float> array(std::vector<float>(64, 0), stream);
  launch<beyond_the_end_kernel>(stream, "beyond_the_end", Grid{1, 1, 1}, 64, 0, Array{array.data(), 64});
  const Fault fault =
      expect_fault(stream, Mistake::outside_allocation, "4 bytes at byte 256 of an allocation of 256");
  EXPECT_EQ(fault.kernel, "beyond_the_end");
  EXPECT_EQ(fault.thread.x, 63U);
  float host = 0;
  launch<beyond_the_end_kernel>(stream, "host memory", Grid{1, 1, 1}, 32, 0, Array{&host, 64});
  expect_fault(stream, Mistake::outside_allocation, "nothing is allocated");
}

__global__ void unwritten_kernel(const Array op) {
  GALAGO_SHARED_ARRAY(float, values, 64);
  if (threadIdx.x != 5) values[threadIdx.x] = 1;
  block_barrier();
  Global<float>(op.data)[threadIdx.x] = values[threadIdx.x];
}

TEST_F(Simt, FindsSharedMemoryThatNobodyWrote) {
  DeviceArray<float> array(64);
  launch<unwritten_kernel>(stream, "unwritten", Grid{1, 1, 1}, 64, 0, Array{array.data(), 64});
  EXPECT_EQ(expect_fault(stream, Mistake::unwritten_shared, "which nobody wrote").thread.x, 5U);
}

__global__ void beyond_shared_kernel(const Array op) {
  const Shared<float> values = dynamic_shared<float>();
  values[threadIdx.x] = Global<float>(op.data)[0];
}

TEST_F(Simt, FindsSharedMemoryBeyondWhatWasAskedFor) {
  DeviceArray<float> array(std::vector<float>(1, 0), stream);
  launch<beyond_shared_kernel>(stream, "beyond_shared", Grid{1, 1, 1}, 32, 31 * 4, Array{array.data(), 1});
  EXPECT_EQ(expect_fault(stream, Mistake::outside_shared, "element 31 of 31").thread.x, 31U);
}

__global__ void half_at_barrier_kernel(const Array op) {
  if (threadIdx.x < static_cast<unsigned>(op.n)) block_barrier();
}
__global__ void two_barriers_kernel(const Array op) {
  if (threadIdx.x < static_cast<unsigned>(op.n)) {
    block_barrier();
  } else {
    block_barrier();
  }
}
__global__ void part_of_a_warp_kernel(const Array op) {
  if (threadIdx.x < static_cast<unsigned>(op.n)) Global<float>(op.data)[0] = warp_sum(1);
}

TEST_F(Simt, FindsBarriersThatNotAllThreadsReach) {
  DeviceArray<float> array(64);
  const Array op{array.data(), 40};
  launch<half_at_barrier_kernel>(stream, "half_at_barrier", Grid{1, 1, 1}, 64, 0, op);
  expect_fault(stream, Mistake::divergent_barrier, "thread (40, 0, 0) has ended");
  launch<two_barriers_kernel>(stream, "two_barriers", Grid{1, 1, 1}, 64, 0, op);
  expect_fault(stream, Mistake::divergent_barrier, "waits at a barrier");
  launch<part_of_a_warp_kernel>(stream, "part_of_a_warp", Grid{1, 1, 1}, 64, 0, op);
  expect_fault(stream, Mistake::divergent_barrier, "waits for its warp");
}

__global__ void misaligned_kernel(const Array op) {
  const Global<float> data(op.data);
  data[0] = load_vector<Float4>(data, op.n).values[0];
}

TEST_F(Simt, FindsMisalignedVectors) {
  DeviceArray<float> array(std::vector<float>(64, 7), stream);
  launch<misaligned_kernel>(stream, "aligned", Grid{1, 1, 1}, 32, 0, Array{array.data(), 4});
  EXPECT_EQ(array.read(stream)[0], 7);
  launch<misaligned_kernel>(stream, "misaligned", Grid{1, 1, 1}, 32, 0, Array{array.data(), 3});
  expect_fault(stream, Mistake::misaligned_access, "16 bytes at byte 12 of an allocation");
}

__global__ void race_kernel(const Array op) {
  const Shared<float> values = dynamic_shared<float>();
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  // No barrier here.
  Global<float>(op.data)[threadIdx.x] = values[threadIdx.x / warp_lanes * warp_lanes];
}
__global__ void late_write_kernel(const Array op) {
  const Shared<float> values = dynamic_shared<float>();
  values[threadIdx.x] = 1;
  block_barrier();
  const float other = values[(threadIdx.x + 1) % blockDim.x];
  values[threadIdx.x] = other;  // the neighbour may not have read it yet
  Global<float>(op.data)[threadIdx.x] = other;
}
__global__ void warp_ordered_kernel(const Array op) {
  const Shared<float> values = dynamic_shared<float>();
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  warp_barrier();
  const float first = values[threadIdx.x / warp_lanes * warp_lanes];
  warp_barrier();
  values[threadIdx.x] = first;
  Global<float>(op.data)[threadIdx.x] = first;
}

TEST_F(Simt, FindsRacesInTheirMode) {
  DeviceArray<float> array(64);
  const Array op{array.data(), 64};
  launch<race_kernel>(stream, "race", Grid{1, 1, 1}, 64, 256, op);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess) << "races are a mode of their own";
  simt::set_checks(simt::Checks::and_races);
  launch<race_kernel>(stream, "race", Grid{1, 1, 1}, 64, 256, op);
  expect_fault(stream, Mistake::shared_race, "which thread 0 wrote with no barrier between");
  launch<late_write_kernel>(stream, "late_write", Grid{1, 1, 1}, 64, 256, op);
  expect_fault(stream, Mistake::shared_race, "no barrier between");
  launch<warp_ordered_kernel>(stream, "warp_ordered", Grid{1, 1, 1}, 64, 256, op);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(array.read(stream)[63], 32);
}

TEST_F(Simt, FindsLaunchesThatNoDeviceTakes) {
  DeviceArray<float> array(64);
  const Array op{array.data(), 0};
  launch<coordinates_kernel>(stream, "odd", Grid{1, 1, 1}, 33, 0, op);
  expect_fault(stream, Mistake::impossible_launch, "whole warps");
  launch<coordinates_kernel>(stream, "large", Grid{1, 1, 1}, 2048, 0, op);
  expect_fault(stream, Mistake::impossible_launch, "at most 1024");
  launch<coordinates_kernel>(stream, "high", Grid{1, 65536, 1}, 32, 0, op);
  expect_fault(stream, Mistake::impossible_launch, "65535");
  launch<coordinates_kernel>(stream, "greedy", Grid{1, 1, 1}, 32, 1 << 20, op);
  expect_fault(stream, Mistake::impossible_launch, "shared memory");
}

// --- streams, copies, faults ---

TEST_F(Simt, NothingHappensBeforeSomebodyWaits) {
  DeviceArray<float> array(32);
  std::vector<float> host(32, -1);
  launch<coordinates_kernel>(stream, "coordinates", Grid{1, 1, 1}, 32, 0, Array{array.data(), 0});
  cudaMemcpyAsync(host.data(), array.data(), 128, cudaMemcpyDeviceToHost, stream);
  EXPECT_EQ(host[1], -1);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(host[31], 31);
}

TEST_F(Simt, EventsOrderStreams) {
  cudaStream_t other = nullptr;
  cudaEvent_t event = nullptr;
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  DeviceArray<float> array(std::vector<float>(32, 0), stream);
  launch<coordinates_kernel>(stream, "coordinates", Grid{1, 1, 1}, 32, 0, Array{array.data(), 0});
  cudaEventRecord(event, stream);
  cudaStreamWaitEvent(other, event, 0);
  EXPECT_EQ(array.read(other)[5], 5);
  cudaEventDestroy(event);
  cudaStreamDestroy(other);
}

TEST_F(Simt, PageableMemoryIsReadByTheCallAndPinnedMemoryLater) {
  DeviceArray<float> array(1);
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, 4), cudaSuccess);
  float pageable = 1;
  cudaMemcpyAsync(array.data(), &pageable, 4, cudaMemcpyHostToDevice, stream);
  pageable = 2;
  EXPECT_EQ(array.read(stream)[0], 1);
  *static_cast<float*>(pinned) = 3;
  cudaMemcpyAsync(array.data(), pinned, 4, cudaMemcpyHostToDevice, stream);
  *static_cast<float*>(pinned) = 4;
  EXPECT_EQ(array.read(stream)[0], 4);
  cudaFreeHost(pinned);
}

__global__ void sum_kernel(const Array op) {
  const Global<float> data(op.data);
  if (threadIdx.x == 0) data[op.n] = data[0] + data[1];
}

/// What keeps a pipeline of two slots in order.
struct Waits {
  bool work_for_copy = true;  ///< a kernel for the values in its slot
  bool copy_for_work = true;  ///< a copy for the kernel that read the slot before
  bool host_for_copy = true;  ///< the host for the copy of the memory that it fills next
};

/// Values go by pairs from pinned memory to two slots on the device, where a kernel adds each pair.
class Pipeline {
 public:
  explicit Pipeline(cudaStream_t work) : work_(work) {
    cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking);
    for (cudaEvent_t& event : arrived_) cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    for (cudaEvent_t& event : free_) cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    for (void*& block : pinned_) cudaMallocHost(&block, 2 * sizeof(float));
  }
  ~Pipeline() {
    for (void* const block : pinned_) cudaFreeHost(block);
    for (const cudaEvent_t event : arrived_) cudaEventDestroy(event);
    for (const cudaEvent_t event : free_) cudaEventDestroy(event);
    cudaStreamDestroy(copies_);
  }
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  /// The sums of (0, 1), (1, 2), (2, 3), ...
  std::vector<float> run(std::int64_t n, const Waits& waits) {
    DeviceArray<float> device(std::vector<float>(static_cast<std::size_t>(4 + n), 0), work_);
    cudaStreamSynchronize(work_);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto slot = static_cast<std::size_t>(i % 2);
      if (waits.host_for_copy) cudaEventSynchronize(arrived_[slot]);
      auto* const values = static_cast<float*>(pinned_[slot]);
      values[0] = static_cast<float>(i);
      values[1] = static_cast<float>(i + 1);
      float* const at = device.data() + 2 * slot;
      if (waits.copy_for_work) cudaStreamWaitEvent(copies_, free_[slot], 0);
      cudaMemcpyAsync(at, values, 2 * sizeof(float), cudaMemcpyHostToDevice, copies_);
      cudaEventRecord(arrived_[slot], copies_);
      if (waits.work_for_copy) cudaStreamWaitEvent(work_, arrived_[slot], 0);
      const std::int64_t result = 4 + i - 2 * static_cast<std::int64_t>(slot);
      launch<sum_kernel>(work_, "sum", Grid{1, 1, 1}, 32, 0, Array{at, result});
      cudaEventRecord(free_[slot], work_);
    }
    const std::vector<float> all = device.read(work_);
    cudaStreamSynchronize(copies_);
    return {all.begin() + 4, all.end()};
  }

 private:
  cudaStream_t work_;
  cudaStream_t copies_ = nullptr;
  cudaEvent_t arrived_[2] = {};
  cudaEvent_t free_[2] = {};
  void* pinned_[2] = {};
};

TEST_F(Simt, TwoStreamsInOrderGiveTheSameInAllOrders) {
  for (const simt::StreamOrder order : {simt::StreamOrder::late, simt::StreamOrder::copies_early}) {
    simt::set_stream_order(order);
    EXPECT_EQ(Pipeline(stream).run(6, {}), (std::vector<float>{1, 3, 5, 7, 9, 11}));
  }
}

TEST_F(Simt, AMissingWaitBetweenStreamsIsFoundInOneOfTheOrders) {
  const std::vector<float> right{1, 3, 5, 7, 9, 11};
  const auto run = [&](simt::StreamOrder order, const Waits& waits) {
    simt::set_stream_order(order);
    return Pipeline(stream).run(6, waits);
  };
  EXPECT_NE(run(simt::StreamOrder::late, {.work_for_copy = false}), right);
  EXPECT_NE(run(simt::StreamOrder::late, {.host_for_copy = false}), right);
  EXPECT_NE(run(simt::StreamOrder::copies_early, {.copy_for_work = false}), right);
}

TEST_F(Simt, AFaultFailsAllLaterCallsAndSaysWhy) {
  DeviceArray<float> array(std::vector<float>(64, 0), stream);
  launch<beyond_the_end_kernel>(stream, "beyond_the_end", Grid{1, 1, 1}, 64, 0, Array{array.data(), 64});
  const cudaError_t error = cudaStreamSynchronize(stream);
  EXPECT_NE(std::string(cudaGetErrorString(error))
                .find("kernel beyond_the_end, block (0, 0, 0), thread (63, 0, 0)"),
            std::string::npos);
  EXPECT_EQ(launch<coordinates_kernel>(stream, "later", Grid{1, 1, 1}, 32, 0, Array{array.data(), 0}), error);
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, 64), error);
}

TEST_F(Simt, CopiesOutsideAnAllocationAreFaults) {
  DeviceArray<float> array(4);
  std::vector<float> host(8, 0);
  cudaMemcpyAsync(array.data(), host.data(), 32, cudaMemcpyHostToDevice, stream);
  expect_fault(stream, Mistake::outside_allocation, "reach outside an allocation");
}

TEST_F(Simt, MemoryEnds) {
  const std::size_t before = simt::device_memory();
  simt::set_device_memory(1024);
  void* address = nullptr;
  EXPECT_EQ(cudaMalloc(&address, 2048), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&address, 512), cudaSuccess);
  EXPECT_EQ(cudaFree(address), cudaSuccess);
  EXPECT_EQ(cudaFree(address), cudaErrorInvalidValue);
  simt::set_device_memory(before);
}

TEST_F(Simt, SixteenBitNumbersRoundAsOnDevices) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if ((bits & 0x7c00U) == 0x7c00U) continue;  // infinite or no number
    EXPECT_EQ(simt::narrow_half(simt::widen_half(half)), half);
  }
  EXPECT_EQ(simt::widen_half(simt::narrow_half(1.0F + 0x1p-11F)), 1.0F);  // half way: to even
  EXPECT_EQ(simt::widen_half(simt::narrow_half(1.0F + 0x1.8p-10F)), 1.0F + 0x1p-9F);
  EXPECT_EQ(simt::widen_half(simt::narrow_half(0x1.8p-25F)), 0x1p-24F);
  EXPECT_EQ(simt::widen_half(1), 0x1p-24F);
  EXPECT_EQ(simt::widen_bfloat16(simt::narrow_bfloat16(1.0F + 0x1p-8F)), 1.0F);
}

TEST_F(Simt, ProductsAreColumnMajorAndChecked) {
  // A [2, 3] and B [3, 2], column by column; C = A B + C.
  DeviceArray<float> a({1, 4, 2, 5, 3, 6}, stream);
  DeviceArray<float> b({1, 0, 1, 0, 1, 1}, stream);
  DeviceArray<float> c({100, 100, 100, 100}, stream);
  cublasHandle_t handle = nullptr;
  cublasCreate(&handle);
  cublasSetStream(handle, stream);
  const float one = 1;
  EXPECT_EQ(
      cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, &one, a.data(), CUDA_R_32F, 2, b.data(),
                   CUDA_R_32F, 3, &one, c.data(), CUDA_R_32F, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(c.read(stream), (std::vector<float>{104, 110, 105, 111}));
  EXPECT_EQ(
      cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, &one, a.data(), CUDA_R_32F, 1, b.data(),
                   CUDA_R_32F, 3, &one, c.data(), CUDA_R_32F, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      CUBLAS_STATUS_INVALID_VALUE);
  cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 3, 3, &one, a.data(), CUDA_R_32F, 2, b.data(), CUDA_R_32F,
               3, &one, c.data(), CUDA_R_32F, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  expect_fault(stream, Mistake::outside_allocation, "operand B");
  cublasDestroy(handle);
}

}  // namespace
}  // namespace galago::kernels::emulated
