// What tests of CUDA kernels have in common: a stream, on the emulated device with races looked for.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/device_array.h"
#if defined(GALAGO_SIMT)
#include "simt/fault.h"
#endif

namespace galago::kernels::GALAGO_DEVICE_SPACE {

class CudaKernelTest : public ::testing::Test {
 protected:
  CudaKernelTest() {
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
#if defined(GALAGO_SIMT)
    simt::set_checks(simt::Checks::and_races);
#endif
  }
  ~CudaKernelTest() override {
#if defined(GALAGO_SIMT)
    simt::take_device_fault();
    simt::set_checks(simt::Checks::usual);
#endif
    cudaStreamDestroy(stream);
  }

  cudaStream_t stream = nullptr;
};

/// max |a - b| must not be above `bound`.
inline void expect_near(const std::vector<float>& values, const std::vector<double>& expected, double bound) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_NEAR(values[i], expected[i], bound) << "element " << i;
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
