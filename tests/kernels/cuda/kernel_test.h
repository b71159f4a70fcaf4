// What tests of CUDA kernels have in common: a stream of the emulated device, and races looked for.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "simt/device_array.h"
#include "simt/fault.h"

namespace galago::testing {

class CudaKernelTest : public ::testing::Test {
 protected:
  CudaKernelTest() {
    simt::cudaStreamCreateWithFlags(&stream, simt::cudaStreamNonBlocking);
    simt::set_checks(simt::Checks::and_races);
  }
  ~CudaKernelTest() override {
    simt::take_device_fault();
    simt::set_checks(simt::Checks::usual);
    simt::cudaStreamDestroy(stream);
  }

  simt::cudaStream_t stream = nullptr;
};

/// max |a - b| must not be above `bound`.
inline void expect_near(const std::vector<float>& values, const std::vector<double>& expected, double bound) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_NEAR(values[i], expected[i], bound) << "element " << i;
}

}  // namespace galago::testing
