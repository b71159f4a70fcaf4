// What a kernel that is wrong on purpose is caught with.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "simt/fault.h"
#include "simt/runtime.h"

namespace galago::simt {

/// Runs what is queued and expects it to fail so, with `words` in what is told of it.
inline Fault expect_fault(cudaStream_t stream, Mistake mistake, const std::string& words = {}) {
  EXPECT_NE(cudaStreamSynchronize(stream), cudaSuccess);
  const std::optional<Fault> fault = take_device_fault();
  if (!fault) {
    ADD_FAILURE() << "no fault was found";
    return {};
  }
  EXPECT_EQ(fault->mistake, mistake) << fault->to_string();
  EXPECT_NE(fault->to_string().find(words), std::string::npos) << fault->to_string();
  return *fault;
}

}  // namespace galago::simt
