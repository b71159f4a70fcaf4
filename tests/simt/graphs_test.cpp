// Graphs on the emulated device: what is recorded happens when it is launched, with all its mistakes.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/device_array.h"
#include "kernels/cuda/primitives.cuh"
#include "simt/expect_fault.h"
#include "simt/memory.h"

namespace galago::kernels::emulated {
namespace {

using simt::expect_fault;
using simt::Mistake;

class SimtGraphs : public ::testing::Test {
 protected:
  SimtGraphs() { cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking); }
  ~SimtGraphs() override {
    simt::take_device_fault();
    simt::set_checks(simt::Checks::usual);
    simt::set_failures({});
    cudaStreamDestroy(stream);
  }

  /// What `queue` hands to the stream, ready to be launched; null where recording failed.
  template <class Queue>
  cudaGraphExec_t record(Queue&& queue) {
    EXPECT_EQ(cudaStreamBeginCapture(stream, simt::cudaStreamCaptureModeThreadLocal), cudaSuccess);
    queue();
    cudaGraph_t recording = nullptr;
    cudaGraphExec_t graph = nullptr;
    if (cudaStreamEndCapture(stream, &recording) != cudaSuccess) return nullptr;
    EXPECT_EQ(cudaGraphInstantiateWithFlags(&graph, recording, 0), cudaSuccess);
    cudaGraphDestroy(recording);
    return graph;
  }

  cudaStream_t stream = nullptr;
};

struct Array {
  float* data;
};

__global__ void double_kernel(const Array op) {
  const Global<float> data(op.data);
  data[threadIdx.x] = 2 * data[threadIdx.x];
}

__global__ void beyond_the_end_kernel(const Array op) {
  const Global<float> data(op.data);
  data[threadIdx.x] = data[threadIdx.x + 1];  // the last thread reads past the end
}

__global__ void race_kernel(const Array op) {
  const Shared<float> values = dynamic_shared<float>();
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  // No barrier here.
  Global<float>(op.data)[threadIdx.x] = values[threadIdx.x / warp_lanes * warp_lanes];
}

TEST_F(SimtGraphs, WhatIsRecordedHappensAtEachLaunchAndNotBefore) {
  DeviceArray<float> array(std::vector<float>(64, 1), stream), copy(std::vector<float>(64, 0), stream);
  cudaGraphExec_t graph = record([&] {
    launch<double_kernel>(stream, "double", Grid{1, 1, 1}, 64, 0, Array{array.data()});
    cudaMemcpyAsync(copy.data(), array.data(), 256, simt::cudaMemcpyDeviceToDevice, stream);
  });
  ASSERT_NE(graph, nullptr);
  EXPECT_EQ(copy.read(stream)[0], 0);
  EXPECT_EQ(cudaGraphLaunch(graph, stream), cudaSuccess);
  EXPECT_EQ(copy.read(stream)[0], 2);
  EXPECT_EQ(cudaGraphLaunch(graph, stream), cudaSuccess);
  EXPECT_EQ(copy.read(stream)[63], 4);
  cudaGraphExecDestroy(graph);
}

TEST_F(SimtGraphs, FindMistakesOfRecordedKernels) {
  DeviceArray<float> array(std::vector<float>(64, 0), stream);
  simt::set_checks(simt::Checks::and_races);
  cudaGraphExec_t outside = record([&] {
    launch<beyond_the_end_kernel>(stream, "beyond_the_end", Grid{1, 1, 1}, 64, 0, Array{array.data()});
  });
  cudaGraphExec_t race = record([&] {
    launch<race_kernel>(stream, "race", Grid{1, 1, 1}, 64, 256, Array{array.data()});
  });
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess) << "nothing was launched";
  cudaGraphLaunch(outside, stream);
  EXPECT_EQ(expect_fault(stream, Mistake::outside_allocation, "kernel beyond_the_end").thread.x, 63U);
  cudaGraphLaunch(race, stream);
  expect_fault(stream, Mistake::shared_race, "kernel race");
  cudaGraphExecDestroy(outside);
  cudaGraphExecDestroy(race);
}

TEST_F(SimtGraphs, AnArrangedFailureCountsWhatRunsNotWhatIsRecorded) {
  DeviceArray<float> array(std::vector<float>(64, 1), stream);
  simt::set_failures({.launch = 3});
  cudaGraphExec_t graph = record([&] {
    launch<double_kernel>(stream, "double", Grid{1, 1, 1}, 64, 0, Array{array.data()});
  });
  for (int i = 0; i < 2; ++i) cudaGraphLaunch(graph, stream);
  EXPECT_EQ(array.read(stream)[0], 4);
  cudaGraphLaunch(graph, stream);
  expect_fault(stream, Mistake::arranged, "kernel double");
  cudaGraphExecDestroy(graph);
}

TEST_F(SimtGraphs, WhatCannotBeRecordedSpoilsTheRecording) {
  constexpr auto refused = simt::cudaErrorStreamCaptureUnsupported;
  DeviceArray<float> array(std::vector<float>(64, 0), stream);
  cudaStreamSynchronize(stream);
  std::vector<float> host(64, 1);
  const auto copy = [&](void* to, const void* from, simt::cudaMemcpyKind kind) {
    return record([&] { EXPECT_EQ(cudaMemcpyAsync(to, from, 256, kind, stream), refused); });
  };
  EXPECT_EQ(record([&] { EXPECT_EQ(cudaStreamSynchronize(stream), refused); }), nullptr);
  EXPECT_EQ(copy(array.data(), host.data(), simt::cudaMemcpyHostToDevice), nullptr);
  EXPECT_EQ(copy(host.data(), array.data(), simt::cudaMemcpyDeviceToHost), nullptr);
  EXPECT_EQ(array.read(stream)[0], 0);
  void* more = nullptr;
  cudaGraphExecDestroy(record([&] { EXPECT_EQ(cudaMalloc(&more, 64), refused); }));
}

TEST_F(SimtGraphs, TakeDeviceMemoryUntilTheyAreDestroyed) {
  DeviceArray<float> array(64);
  const std::size_t free = simt::free_device_memory();
  cudaGraphExec_t graph = record([&] {
    launch<double_kernel>(stream, "double", Grid{1, 1, 1}, 64, 0, Array{array.data()});
  });
  EXPECT_LT(simt::free_device_memory(), free);
  cudaGraphExecDestroy(graph);
  EXPECT_EQ(simt::free_device_memory(), free);
}

}  // namespace
}  // namespace galago::kernels::emulated
